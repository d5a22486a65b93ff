"""Names of tensors and of state dicts, taken apart into words."""

from __future__ import annotations

import re

__all__ = ["is_average", "is_loss", "number_form", "words"]

_AVERAGES = frozenset(("ema", "swa", "avg", "average", "averaged", "polyak", "shadow"))
_LOSSES = frozenset(("criterion", "criterions", "loss", "losses", "objective", "crossentropy"))


def words(name: str) -> list[str]:
    """The words and numbers of a name, in lower case: ``netC.conv1_bn`` gives net, c, conv, 1, bn."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def is_average(name: str) -> bool:
    """Whether a name says that weights are averages over a training (``ema``, ``model_ema``, ``swa_state_dict``)."""
    return not _AVERAGES.isdisjoint(words(name))


def is_loss(name: str) -> bool:
    """Whether a name says that a tensor is a loss's (``criterion.weight``)."""
    return not _LOSSES.isdisjoint(words(name))


def number_form(name: str) -> tuple[str, tuple[int, ...]]:
    """A name's form and its numbers: ``layers.10.conv2`` gives ``layers.#.conv#`` and (10, 2)."""
    return re.sub(r"\d+", "#", name), tuple(int(digits[:18]) for digits in re.findall(r"\d+", name))
