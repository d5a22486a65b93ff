"""Programs that ``torch.export.save`` wrote (.pt2), read without ``torch.export.load``, which unpickles.

The file's calls are made anew, one by one, by torch's own operators, those of the vocabulary and a few that make
constants; so they can be traced as a module's are, with another number of images than the file's.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.input_shape import other_shape
from zoovet.printable import printable
from zoovet.readers.exported.archived_calls import ArchivedCall, calls_of
from zoovet.readers.exported.file_errors import MALFORMED, naming_the_file
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.exported.replayed import (
    NumbersMade,
    Replayed,
    axis_of_images,
    counts_images,
    in_one_precision,
    traced,
)
from zoovet.readers.exported.values import NUM_IMAGES
from zoovet.readers.loaded import GraphData, tensor_of
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.opening import graph_data_of
from zoovet.readers.parsing.kinds import said_in_parentheses
from zoovet.readers.tensors import ways_to_give_a_shape

__all__ = ["network_of_export", "read_export"]

_LARGEST_SIZE = 2**60
_REPEATED = ("expand", "broadcast_to", "repeat")
_RESHAPED = ("view", "reshape", "_unsafe_view")


def read_export(path: str | Path, input_shape: tuple[int, ...] | None = None) -> NetworkFile:
    """Read a ``.pt2`` file of PyTorch 2.9 or later; nothing in it is run or unpickled.

    Args:
        path: The file.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``, where the file leaves it open.

    Returns:
        One network in float32, and notes on how it was read.

    Raises:
        UnknownOperation: It has an operation that graphs have none for.
        ZoovetError: The file cannot be read, is damaged, or none of ``torch.export``.
    """
    return network_of_export(graph_data_of(Path(path), "torch.export"), input_shape, source=printable(path))


def network_of_export(
    data: GraphData, input_shape: tuple[int, ...] | None = None, *, output: int | None = None, source: str
) -> NetworkFile:
    """The network of a ``.pt2`` file that was opened.

    Args:
        data: What it holds.
        input_shape: As in :func:`read_export`.
        output: Which of several outputs, from 0.
        source: What messages call the file, safe to show.

    Raises:
        UnknownOperation: As in :func:`read_export`.
        ZoovetError: As in :func:`read_export`.
    """
    with naming_the_file(source):
        program = calls_of(data.description["program"], output)
        stored = {name: tensor_of(data, node) for name, node in data.description["tensors"].items()}
        tensors, notes = in_one_precision(stored)
        module = _Archived(program.calls, program.inputs, program.output, tensors, program.batch)
        shape = _image_shape(program.input_sizes, input_shape)
        networks = traced(module, shape)
        networks.require_finite("its weights")
    return NetworkFile(networks=networks, notes=notes)


def _image_shape(sizes: tuple[int | None, ...], given: tuple[int, ...] | None) -> tuple[int, ...]:
    own = sizes[1:]
    if given is None:
        if None in own:
            example = tuple(size or 32 for size in own)
            raise ZoovetError(f"it leaves the size of its input open; give {ways_to_give_a_shape(example)}")
        return tuple(size or 0 for size in own)
    if len(given) != len(own) or any(size not in (None, one) for size, one in zip(own, given, strict=True)):
        raise other_shape(own, given)
    return tuple(given)


class _Archived(Replayed):
    """Makes the calls of a file.

    Args:
        calls: In order.
        inputs: Name of a value → (kind, name of the tensor); the images' is ``("images", "")``.
        output: The value that is the answer.
        tensors: By name.
        batch: How many images the file is fixed to; ``None`` where it takes any number.
    """

    def __init__(
        self,
        calls: tuple[ArchivedCall, ...],
        inputs: Mapping[str, tuple[str, str]],
        output: str,
        tensors: Mapping[str, Tensor],
        batch: int | None,
    ) -> None:
        super().__init__()
        self._calls, self._inputs, self._answer, self._batch = calls, dict(inputs), output, batch
        for kind, name in inputs.values():
            if kind != "images" and not self.has_tensor(name):
                if name not in tensors:
                    raise ZoovetError(f"it lacks its weight '{printable(name, 80)}'")
                self.keep_tensor(name, tensors[name], is_learned=kind == "parameter")

    def forward(self, images: Tensor) -> Tensor:
        """The file's answer."""
        values: dict[str, Any] = {}
        self._made_so_far = NumbersMade()
        for name, (kind, tensor) in self._inputs.items():
            values[name] = images if kind == "images" else self.kept_tensor(tensor)
        for call in self._calls:
            try:
                results = self._made(call, values)
            except ZoovetError as error:
                self.failure.error = error
                raise
            except MALFORMED as error:
                self.failure.error = UnknownOperation(
                    call.name, call.place, f"does not fit{said_in_parentheses(error)}"
                )
                raise self.failure.error from None
            values.update(zip(call.outputs, results, strict=True))
        answer = values[self._answer]
        assert isinstance(answer, Tensor)
        return answer

    def _made(self, call: ArchivedCall, values: dict[str, Any]) -> list[Any]:
        args, keywords = call.arguments(values)
        if self._batch is not None:
            args, keywords = self._for_more_images(call, args, keywords)
        if call.namespace == "_operator":
            return [_of_numbers(call, args)]
        result = getattr(getattr(torch.ops.aten, call.written), call.overload)(*args, **keywords)
        results = list(result) if isinstance(result, list | tuple) else [result]
        self._made_so_far.add(results, call.name, call.place)
        return results

    def _for_more_images(
        self, call: ArchivedCall, args: list[Any], keywords: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Sizes that the file fixes for its own number of images, for the number here."""
        if not call.sizes or call.short not in (*_RESHAPED, *_REPEATED, "cat"):
            return args, keywords
        assert self._batch is not None
        first = args[0]
        if call.short == "cat":
            return [_alike(first, self._batch), *args[1:]], keywords
        if call.short in _RESHAPED and counts_images(first):
            return [first, _reshaped(first, call.sizes, self._batch), *args[2:]], keywords
        if call.short in ("expand", "broadcast_to") and counts_images(first):
            axis = len(args[1]) - first.ndim + axis_of_images(first)
            sizes = [-1 if place == axis else size for place, size in enumerate(args[1])]
            return [first, sizes, *args[2:]], keywords
        return args, keywords


def _of_numbers(call: ArchivedCall, args: list[Any]) -> Any:
    """Arithmetic with sizes."""
    if call.written == "getitem":
        return args[0][int(args[1])]
    if not all(isinstance(one, int | float | torch.SymInt) for one in args):
        raise UnknownOperation(call.name, call.place, "calculates with what is no number")
    result = getattr(operator, call.written)(*args)
    if abs(result) > _LARGEST_SIZE:
        raise UnknownOperation(call.name, call.place, "makes a size that no tensor has")
    return result


def _reshaped(tensor: Tensor, sizes: tuple[int, ...], batch: int) -> list[int]:
    """Sizes of a tensor that is to be what the file makes of it.

    Images go where they are alone again, else beside as few others before them as can be, and last where features are.
    A choice that mixes images is found out when the program is read.
    """
    place = axis_of_images(tensor)
    before, merged, passed = math.prod(tensor.shape[:place]), tensor.shape[place] // NUM_IMAGES, 1
    fitting: list[tuple[bool, bool, int, int]] = []
    for axis, size in enumerate(sizes):
        alone = size == batch and passed % before == 0 and merged % (passed // before) == 0
        joined = size % batch == 0 and before % passed == 0 and size // batch % (before // passed) == 0
        if alone or joined:
            others = passed // before if alone else before // passed
            fitting.append((not alone, axis == len(sizes) - 1, others, axis))
        passed *= size
    if not fitting:
        raise ZoovetError("it reshapes its images in a way that depends on their number; export it with any number")
    axis = min(fitting)[-1]
    return [*sizes[:axis], sizes[axis] // batch * NUM_IMAGES, *sizes[axis + 1 :]]


def _alike(tensors: list[Tensor], batch: int) -> list[Tensor]:
    """What is joined, constants repeated where they were for the file's number of images."""
    images = next((one for one in tensors if counts_images(one)), None)
    if images is None or axis_of_images(images) != 0:
        return tensors
    return [
        one if counts_images(one) or one.shape[0] != batch else one[:1].expand(images.shape[0], *one.shape[1:])
        for one in tensors
    ]
