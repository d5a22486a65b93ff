"""From what ``torch.save`` stored to named tensors: where in its dictionaries and lists are the state dicts?

A state dict is a dictionary in which a name with ``weight`` in it holds a tensor of two or more axes. It may lie
however deep, under whatever key, in a list too, and its layers may be dictionaries of their own
(``{"fc": {"weight": …}}``). What an optimizer keeps is none, nor are tensors elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.content import FileContent
from zoovet.readers.loaded import ForeignObject
from zoovet.readers.parsing.kinds import kind_in_words
from zoovet.readers.parsing.refusal import EXPORT
from zoovet.readers.tensor_names import is_average

__all__ = ["unwrapped"]

_MAX_DEPTH, _MAX_ENTRIES = 32, 500_000
_NAMES_IN_MESSAGES = 6
_NO_WEIGHTS = ("optim", "sched", "momentum", "grad", "exp_avg")
"""Parts of keys whose dictionaries hold an optimizer's numbers under the names of weights."""
_LAYER_KEYS = frozenset(
    f"{name}{part}" for name in ("weight", "bias") for part in ("", "_orig", "_mask", "_g", "_v", "_u")
) | {"running_mean", "running_var", "num_batches_tracked"}
"""Keys of a dictionary that is one layer's."""


@dataclass
class _StateDict:
    """A state dict, the keys that lead to it, and the numbers that stand on the way."""

    path: tuple[str, ...]
    tensors: dict[str, Tensor]
    numbers: dict[str, float]

    @property
    def prefix(self) -> str:
        return "".join(f"{key}." for key in self.path)

    @property
    def is_average(self) -> bool:
        return any(is_average(key) for key in self.path)

    @property
    def has_weights(self) -> bool:
        return any("weight" in name and tensor.dim() >= 2 for name, tensor in self.tensors.items())


def unwrapped(data: Any, source: str) -> FileContent:
    """The tensors and numbers of the state dicts in what a file holds.

    Args:
        data: What a file holds, as loaded without running code of it: dictionaries, lists, tensors, NumPy arrays and
            scalars, and whatever else, which is left out. Looked at to a depth of 32 and 500,000 entries.
        source: The file, for messages.

    Raises:
        ZoovetError: There is no state dict in it, or it is too deep or too large.
    """
    if not isinstance(data, Mapping | list | tuple):
        raise ZoovetError(f"{source} holds {_in_words(data)}, expected is a dictionary of named tensors; {EXPORT}")
    try:
        found = list(_Search().state_dicts(data, (), {}))
    except _TooMuchError as error:
        raise ZoovetError(f"{source} holds {error}, more than a checkpoint has; {EXPORT}") from None
    with_weights = [one for one in found if one.has_weights]
    chosen = sorted(with_weights, key=lambda one: one.is_average) or found[:1]
    if not chosen:
        names = [repr(printable(key, 30)) for key in list(data)[:_NAMES_IN_MESSAGES] if isinstance(key, str)]
        num_entries = f"{len(data)} {'entry' if len(data) == 1 else 'entries'}"
        what = f"a dictionary of {', '.join(names)}" if names else f"{kind_in_words(data)} of {num_entries}"
        raise ZoovetError(f"{source} has no named tensors, it is {what}; {EXPORT}")
    if len(chosen) == 1:
        return FileContent(tensors=chosen[0].tensors, numbers=chosen[0].numbers)
    tensors = {f"{one.prefix}{name}": tensor for one in chosen for name, tensor in one.tensors.items()}
    return FileContent(tensors=tensors, numbers=chosen[0].numbers, parts=tuple(one.prefix for one in chosen))


def _in_words(data: object) -> str:
    """What it is that is no dictionary."""
    if isinstance(data, ForeignObject):
        return f"an object, '{printable(data.name, 60)}'"
    if isinstance(data, Tensor | np.ndarray):
        return "a tensor" if isinstance(data, Tensor) else "an array"
    return kind_in_words(data)


class _TooMuchError(Exception):
    """A file that no training wrote."""


@dataclass
class _Search:
    """Walks through dictionaries and lists, each once."""

    seen: set[int] = field(default_factory=set)
    num_entries: int = 0

    def state_dicts(self, data: Any, path: tuple[str, ...], numbers: Mapping[str, float]) -> Iterator[_StateDict]:
        """Every dictionary that holds tensors, outer ones first."""
        if id(data) in self.seen or any(part in path[-1].lower() for part in _NO_WEIGHTS if path):
            return
        self.seen.add(id(data))
        if len(path) > _MAX_DEPTH:
            raise _TooMuchError(f"dictionaries nested more than {_MAX_DEPTH} deep")
        self.num_entries += len(data)
        if self.num_entries > _MAX_ENTRIES:
            raise _TooMuchError(f"more than {_MAX_ENTRIES:,} entries")
        entries = dict(enumerate(data)) if isinstance(data, list | tuple) else data
        own = _StateDict(path, {}, dict(numbers))
        inner = []
        for key, value in entries.items():
            if isinstance(key, str) and (tensor := _as_tensor(value)) is not None:
                own.tensors[key] = tensor
            elif isinstance(key, str) and (layer := self._layer(value)) is not None:
                own.tensors |= {f"{key}.{name}": tensor for name, tensor in layer.items()}
            elif isinstance(value, Mapping | list | tuple):
                inner.append((value, path if len(entries) == 1 and key == 0 else (*path, str(key)[:200])))
            elif isinstance(key, str) and (number := _as_number(value)) is not None:
                own.numbers[key] = number
        if own.tensors:
            yield own
        for value, place in inner:
            yield from self.state_dicts(value, place, own.numbers)

    def _layer(self, value: Any) -> dict[str, Tensor] | None:
        """The tensors of a dictionary that is one layer's; ``None`` for another."""
        if not isinstance(value, Mapping) or not value or not _LAYER_KEYS.issuperset(value):
            return None
        tensors = {name: _as_tensor(tensor) for name, tensor in value.items()}
        self.num_entries += len(tensors)
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _as_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach() if value.requires_grad else value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.dtype.itemsize <= 8:
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    return None


def _as_number(value: Any) -> float | None:
    """A finite number that fits a float; ``None`` for anything else."""
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None
