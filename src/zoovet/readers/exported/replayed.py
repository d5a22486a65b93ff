"""What makes a file's calls anew, by torch's own operators, so that they can be traced as a module's are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.traceback import preserve_node_meta

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.module_paths import made_parent
from zoovet.printable import printable
from zoovet.readers.exported.modules import graph_from_module
from zoovet.readers.exported.program import FILLED_NAMES, UnknownOperation
from zoovet.readers.exported.values import NUM_IMAGES
from zoovet.readers.exported.vocabulary import READERS

__all__ = [
    "KNOWN_OPERATORS",
    "MAX_CALLS",
    "NumbersMade",
    "Replayed",
    "axis_of_images",
    "counts_images",
    "in_one_precision",
    "traced",
]

MAX_CALLS = 20_000
"""A file may make."""
_MAX_NUMBERS = 2**30
_CONSTANTS = (
    *("arange", "linspace", "scalar_tensor", "floor_divide", "remainder", "eq", "ne", "lt", "le", "gt", "ge", "where"),
    *("masked_fill", "logical_not", "logical_and", "logical_or", "bitwise_not", "index", "cumsum", "sym_size", "numel"),
    *("copy", "fill", "zero", "triu", "tril", "meshgrid", "floor", "ceil", "round", "cos", "log", "prod", "repeat"),
    *("broadcast_to", "dim"),
)
KNOWN_OPERATORS = frozenset((*READERS, *FILLED_NAMES, *_CONSTANTS))
"""What files may call: what graphs have an operation for, and what makes constants."""


@dataclass
class _Failure:
    """Why the last call of a file could not be made; tracing sets a module's own attributes back."""

    error: ZoovetError | None = None


class Replayed(nn.Module):
    """Makes a file's calls; its weights keep the names that they have in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.failure = _Failure()
        self._places: dict[str, tuple[nn.Module, str]] = {}

    def keep_tensor(self, name: str, tensor: Tensor, *, is_learned: bool) -> None:
        """Keep a weight.

        Raises:
            ZoovetError: It cannot be called so.
        """
        try:
            parent, last = made_parent(self, name)
            if is_learned and tensor.is_floating_point():
                parent.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
            else:
                parent.register_buffer(last, tensor)
        except (AttributeError, KeyError):
            raise ZoovetError(f"its weight cannot be called '{printable(name, 80)}'") from None
        self._places[name] = parent, last

    def has_tensor(self, name: str) -> bool:
        """Whether there is a weight of that name."""
        return name in self._places

    def kept_tensor(self, name: str) -> Tensor:
        """A weight, as tracing has it."""
        parent, last = self._places[name]
        tensor = getattr(parent, last)
        assert isinstance(tensor, Tensor)
        return tensor


def traced(module: Replayed, shape: tuple[int, ...]) -> Networks:
    """The network that a file's calls make.

    Raises:
        UnknownOperation: They do something that graphs have no operation for.
        ZoovetError: What was wrong with the call that could not be made.
    """
    try:
        with preserve_node_meta():  # where calls stand
            return graph_from_module(module, shape)
    except UnknownOperation as error:
        place = "" if ".py:" in error.place and "code/" not in error.place else error.place  # of the code that reads it
        raise UnknownOperation(error.operation, place, error.why) from None
    except ZoovetError as error:  # which says no more than that tracing failed, where a call did
        raise (module.failure.error or error) from None


class NumbersMade:
    """Counts the numbers that calls make, for one image, and refuses too many.

    Args:
        limit: How many there may be.
    """

    def __init__(self, limit: int = _MAX_NUMBERS) -> None:
        self.limit = limit
        self.total = 0

    def add(self, results: Iterable[Any], name: str, place: str) -> None:
        """Count what a call made.

        Raises:
            UnknownOperation: With it there are too many; its name and place are in the message.
        """
        for one in results:
            if isinstance(one, Tensor):
                self.total += one.numel() // (NUM_IMAGES if counts_images(one) else 1)
        if self.total > self.limit:
            raise UnknownOperation(name, place, f"and those before it make more than {self.limit} numbers")


def counts_images(tensor: Tensor) -> bool:
    """Whether a tensor has an axis of images."""
    return any(size % NUM_IMAGES == 0 and size > 0 for size in tensor.shape)


def axis_of_images(tensor: Tensor) -> int:
    """Which axis it is."""
    return next(axis for axis, size in enumerate(tensor.shape) if size % NUM_IMAGES == 0 and size > 0)


def in_one_precision(
    tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """A file's tensors with all real numbers in one precision, and what is to be said of that.

    Raises:
        ZoovetError: One is no dense tensor of real numbers, or leaves the range of that precision.
    """
    whole, notes = dict(tensors), dict[str, None]()
    read_as = str(dtype).removeprefix("torch.")
    for name, tensor in tensors.items():
        if tensor.is_complex() or tensor.is_meta:
            raise ZoovetError(
                f"the tensor '{printable(name, 80)}' is of {tensor.dtype}; weights are dense real numbers"
            )
        if tensor.is_floating_point() and tensor.dtype != dtype:
            notes[f"weights of {str(tensor.dtype).removeprefix('torch.')} are read as {read_as}"] = None
            whole[name] = tensor.to(dtype)
            if bool((torch.isfinite(tensor) & ~torch.isfinite(whole[name])).any()):
                raise ZoovetError(f"the tensor '{printable(name, 80)}' has numbers beyond {read_as}")
    return whole, tuple(notes)
