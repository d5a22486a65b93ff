"""Reference images as a network sees them: whether they are of its kind, and which of its outputs their labels mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from scipy.stats import binom
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.printable import printable
from zoovet.vet.label_order import above_chance, label_order
from zoovet.vet.network import Network

__all__ = ["NothingToSeek", "ReferenceImages", "look_at"]

_MOST_OF_A_CLASS, _MOST = 20, 500
_CHANCE = 0.001
_NAMED_FROM = 0.5
_NUM_NAMED = 3


class NothingToSeek(ZoovetError):
    """Why no evidence can be sought in a network: it is unknown, and nothing that a user did is wrong."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceImages:
    """Images that evidence rests on.

    Attributes:
        images: The images that are used.
        labels: int64 [N], the network's outputs that they should cause; ``None`` where nobody says it, or what is said
            has nothing to do with what the network answers.
        names: Names of outputs, of those whose images the network takes for them.
        accuracy: Share of the images that the network gets right; ``None`` where they have no labels.
        is_at_chance: Whether it gets no more right than chance would, of images enough to tell.
        notes: What a person should know, one line each.
        cautions: What makes all that rests on them doubtful, one line each.
    """

    images: Images
    labels: Tensor | None
    names: Mapping[int, str]
    accuracy: float | None
    is_at_chance: bool
    notes: tuple[str, ...]
    cautions: tuple[str, ...]

    def names_of(self, num_outputs: int) -> tuple[str | None, ...]:
        """Each output's name, ``None`` where it has none; empty where none has one."""
        return tuple(map(self.names.get, range(num_outputs))) if self.names else ()


def look_at(network: Network, images: Images) -> ReferenceImages:
    """See what a network makes of reference images; of more than 20 of a class, or 500, some are used.

    Args:
        network: Its input scaling is known.
        images: Of the size that it reads.

    Raises:
        NothingToSeek: Its answers are not finite.
        ZoovetError: Labels reach beyond its outputs.
    """
    used = _some(images)
    logits = network.logits(used)
    num_bad = int((~logits.isfinite().all(1)).sum())
    if num_bad:
        raise NothingToSeek(
            f"it answers NaN or infinite numbers to {num_bad} of {len(used)} reference images, so nothing can "
            f"be told of it"
        )
    taken, num_outputs = logits.argmax(1), logits.shape[1]
    notes = [] if len(used) == len(images) else [f"{len(used)} of the {len(images)} reference images are used"]
    if used.labels is None:
        said = f"reference images have no labels; the network takes them for {_share(taken, num_outputs)}"
        return ReferenceImages(
            images=used,
            labels=None,
            names=MappingProxyType({}),
            accuracy=None,
            is_at_chance=False,
            notes=(*notes, said),
            cautions=_of_one_class(taken, "taken for"),
        )
    return _labelled(network, used, used.labels, logits, notes)


def _labelled(network: Network, used: Images, said: Tensor, logits: Tensor, notes: list[str]) -> ReferenceImages:
    taken, num_outputs = logits.argmax(1), logits.shape[1]
    labels: Tensor | None = said
    places = torch.arange(used.num_classes)
    if (order := label_order(taken, said, num_outputs)) is not None:
        places, labels = order, order[said]
        notes.append(f"labels of the reference images are other outputs of the network: {_in_words(used, order)}")
    elif int(said.max()) >= num_outputs:
        raise ZoovetError(
            f"the network tells {num_outputs} classes apart, but reference images have the label {int(said.max())}"
        )
    assert labels is not None
    accuracy = float((taken == labels).double().mean())
    is_trusted = above_chance(taken, labels, num_outputs)
    is_at_chance = not is_trusted and _could_tell(labels, num_outputs)
    cautions = _of_one_class(said, "of")
    if len(labels.unique()) < num_outputs:
        notes.append(f"reference images are of {_share(labels, num_outputs)}")
    if is_at_chance:
        assert network.scaling is not None
        cautions += (
            f"the network gets {accuracy:.2f} of {len(used)} reference images right, no more than chance, with the "
            f"input scaling {network.scaling.describe()}: they are of another kind than it reads, or it reads another "
            f"scaling; their labels are not used",
        )
    elif not is_trusted:
        cautions = (
            f"the network gets {accuracy:.2f} of {len(used)} reference images right: too few to tell whether they are "
            f"of the kind that it reads",
            *cautions,
        )
    return ReferenceImages(
        images=used,
        labels=None if is_at_chance else labels,
        names=MappingProxyType(_names(used, said, taken, places)),
        accuracy=accuracy,
        is_at_chance=is_at_chance,
        notes=tuple(notes),
        cautions=cautions,
    )


def _names(images: Images, said: Tensor, taken: Tensor, places: Tensor) -> dict[int, str]:
    """The names of outputs whose images the network takes for them, at least half of them."""
    found = {}
    for label, name in enumerate(images.class_names):
        own = taken[said == label]
        if len(own) and float((own == places[label]).double().mean()) >= _NAMED_FROM:
            found[int(places[label])] = name
    return found


def _some(images: Images) -> Images:
    """At most 20 of a class, and 500 in all, evenly spread over the classes."""
    if images.labels is None:
        rows = torch.arange(len(images))
    else:
        each = [torch.nonzero(images.labels == label).flatten() for label in images.labels.unique()]
        rows = torch.cat([_spread(own, _MOST_OF_A_CLASS) for own in each]).sort().values
    rows = _spread(rows, _MOST)
    return images if len(rows) == len(images) else images[rows]


def _spread(rows: Tensor, most: int) -> Tensor:
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).round().long()]


def _could_tell(labels: Tensor, num_outputs: int) -> bool:
    """Whether a network that gets half of the images right would be above chance."""
    shares = labels.bincount(minlength=num_outputs).double() / len(labels)
    return float(binom.sf(len(labels) // 2 - 1, len(labels), float(shares @ shares))) < _CHANCE


def _of_one_class(labels: Tensor, how: str) -> tuple[str, ...]:
    if len(labels.unique()) > 1:
        return ()
    return (f"reference images are all {how} one class: give some of several, or little can be told",)


def _share(labels: Tensor, num_outputs: int) -> str:
    return f"{len(labels.unique())} of the {num_outputs} classes that the network tells apart"


def _in_words(images: Images, order: Tensor) -> str:
    known = [label for label in range(len(order)) if order[label] >= 0]
    named = [f"{printable(images.label_names[label])} is {int(order[label])}" for label in known[:_NUM_NAMED]]
    return ", ".join(named) + (", …" if len(known) > _NUM_NAMED else "")
