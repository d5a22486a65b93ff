"""A TensorFlow Lite model as plain values: tensors, operators in order, the input and the outputs, all checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.loaded import GraphData, tensor_of
from zoovet.readers.parsing.dtypes import ITEM_BYTES

__all__ = ["NOT_QUANTIZED", "FileTensor", "Model", "Operator", "read_model"]

NOT_QUANTIZED = "is quantized; convert the network without quantization, to float32 or with weights of float16"
_DTYPES = (
    *("float32", "float16", "int32", "uint8", "int64", "text", "bool", "int16", "complex64", "int8", "float64"),
    *("complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16", "int2", "uint4"),
)
_QUANTIZED = ("uint8", "int16", "int8", "int4", "int2", "uint4")
_WEIGHTS = ("float32", "float16", "int32", "int64", "bool")
_INPUTS = ("float32", "float16", "uint8")
_MAX_OPERATORS, _MAX_NAME, _MAX_AXES = 20_000, 200, 8
_LEFT_OUT = -1


@dataclass(frozen=True, kw_only=True)
class FileTensor:
    """A tensor of a file.

    Attributes:
        name: Its own, shortened, and with a number where another tensor before it has the same.
        shape: As the file says it, which holds of constants and of the input; sizes that are open are 1.
        open_axes: Axes that are open.
        dtype: Of its numbers.
        place: First byte of its numbers, and how many bytes they are; ``None`` of what operators make.
        oddity: Why its numbers are not read, where they are none that weights have.
    """

    name: str
    shape: tuple[int, ...]
    open_axes: tuple[int, ...]
    dtype: str
    place: tuple[int, int] | None
    oddity: str

    @property
    def shown(self) -> str:
        """Its name, for messages."""
        return printable(self.name, 80)

    @property
    def is_constant(self) -> bool:
        """Whether the file has its numbers; there may be none."""
        return self.place is not None or 0 in self.shape

    @property
    def is_quantized(self) -> bool:
        """Whether its numbers are whole ones in place of real ones."""
        return self.dtype in _QUANTIZED

    def numbers(self, data: GraphData) -> Tensor:
        """Its numbers as they are stored.

        Raises:
            ZoovetError: They are no dense numbers of 16 to 64 bits, or not as many as its shape says.
        """
        what = f"its tensor '{self.shown}'"
        if self.is_quantized:
            raise ZoovetError(f"{what} is of {self.dtype}: it {NOT_QUANTIZED}")
        if self.oddity or self.dtype not in _WEIGHTS:
            raise ZoovetError(f"{what} {self.oddity or f'is of {self.dtype}'}; weights are dense real numbers")
        start, size = self.place or (0, 0)
        if len(self.shape) > _MAX_AXES or min(self.shape, default=0) < 0:
            raise ZoovetError(f"{what} has the shape {printable(list(self.shape), 80)}, which none of a network has")
        wanted = math.prod(self.shape) * ITEM_BYTES[self.dtype]
        if wanted != size:
            shown = printable(list(self.shape), 80)
            raise ZoovetError(f"{what} says {shown} numbers of {self.dtype}, {wanted} bytes, and has {size}")
        strides = [math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        return tensor_of(data, ["tensor", start, size, self.dtype, 0, list(self.shape), strides, False, False])


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator of a file.

    Attributes:
        name: ``CONV_2D``.
        settings: By name; those that the file leaves out by what they are then.
        inputs, outputs: Numbers of tensors; ``None`` for what is left out.
        index: Its place in the file, from 0.
        makes: What its first output is called.
    """

    name: str
    settings: Mapping[str, Any]
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    index: int
    makes: str

    def unknown(self, why: str) -> UnknownOperation:
        """The error that it does something that graphs have no operation for."""
        place = f"in operator '{printable(self.makes, 80)}' (number {self.index})"
        return UnknownOperation(printable(self.name, 100), place, why)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a file says.

    Attributes:
        tensors: By their numbers.
        operators: In the order in which they run.
        input: Number of the only input.
        outputs: Numbers of the outputs.
    """

    tensors: tuple[FileTensor, ...]
    operators: tuple[Operator, ...]
    input: int
    outputs: tuple[int, ...]

    @property
    def input_sizes(self) -> tuple[int | None, ...]:
        """Axes of the input; ``None`` where one is left open."""
        own = self.tensors[self.input]
        return tuple(None if axis in own.open_axes else size for axis, size in enumerate(own.shape))


def read_model(data: GraphData) -> Model:
    """Check what was parsed, and put it in plain values.

    Raises:
        ZoovetError: There are too many operators, or not one input, or tensors that are not there, are made twice, or
            are read before they are made.
    """
    described = data.description
    tensors = _tensors(described["tensors"])
    if not 0 < len(described["operators"]) <= _MAX_OPERATORS:
        raise ZoovetError(f"it has {len(described['operators'])} operators; 1 to {_MAX_OPERATORS:,} are read")
    operators = tuple(_operator(one, index, tensors) for index, one in enumerate(described["operators"]))
    images = _input(described["inputs"], tensors)
    outputs = tuple(described["outputs"])
    if not outputs:
        raise ZoovetError("it names no output")
    _require_order(operators, tensors, images)
    for number in outputs:
        _require_there(number, tensors, "an output")
    return Model(tensors=tensors, operators=operators, input=images, outputs=outputs)


def _tensors(described: Sequence[Mapping[str, Any]]) -> tuple[FileTensor, ...]:
    tensors, counts = list[FileTensor](), dict[str, int]()
    for index, one in enumerate(described):
        name = (str(one["name"]) or f"tensor {index}")[:_MAX_NAME]
        counts[name] = counts.get(name, 0) + 1
        dtype, place = one["dtype"], one["place"]
        oddity = "is sparse" if one["is_sparse"] else "lies in another file" if one["is_elsewhere"] else ""
        tensors.append(
            FileTensor(
                name=name if counts[name] == 1 else f"{name} #{counts[name]}",
                shape=tuple(one["shape"]),
                open_axes=tuple(one["open"]),
                dtype=_DTYPES[dtype] if 0 <= dtype < len(_DTYPES) else f"type {dtype}",
                place=None if place is None else (place[0], place[1]),
                oddity="is a variable" if one["is_variable"] else oddity,
            )
        )
    return tuple(tensors)


def _operator(described: Mapping[str, Any], index: int, tensors: Sequence[FileTensor]) -> Operator:
    name, outputs = str(described["name"]), tuple(described["outputs"])
    what = f"operator {printable(name, 100)} (number {index})"
    if not outputs:
        raise ZoovetError(f"{what} makes nothing")
    inputs = tuple(None if number == _LEFT_OUT else number for number in described["inputs"])
    for number in (*filter(lambda one: one is not None, inputs), *outputs):
        _require_there(number, tensors, what)
    makes = tensors[outputs[0]].name
    return Operator(name=name, settings=described["settings"], inputs=inputs, outputs=outputs, index=index, makes=makes)


def _require_there(number: int, tensors: Sequence[FileTensor], what: str) -> None:
    if not 0 <= number < len(tensors):
        raise ZoovetError(f"{what} names the tensor {number} of {len(tensors)}: it is damaged; get it anew")


def _input(numbers: Sequence[int], tensors: Sequence[FileTensor]) -> int:
    for number in numbers:
        _require_there(number, tensors, "an input")
    if len(numbers) != 1:
        names = ", ".join(f"'{tensors[number].shown}'" for number in numbers[:5])
        raise ZoovetError(f"it has {len(numbers)} inputs ({names or 'none'}); a network reads images alone")
    own = tensors[numbers[0]]
    if own.dtype not in _INPUTS:
        why = f": it {NOT_QUANTIZED}" if own.is_quantized else "; images are of float32, float16 or uint8"
        raise ZoovetError(f"its input '{own.shown}' is of {own.dtype}{why}")
    if min(own.shape, default=0) < 1:
        raise ZoovetError(f"its input '{own.shown}' has the shape {printable(list(own.shape), 80)}, which is none")
    return int(numbers[0])


def _require_order(operators: Sequence[Operator], tensors: Sequence[FileTensor], images: int) -> None:
    """Refuse operators that read what is not made before them, as in a cycle, or make what is there."""
    known = {images, *(number for number, tensor in enumerate(tensors) if tensor.is_constant)}
    for operator in operators:
        what = f"operator {printable(operator.name, 100)} (number {operator.index})"
        for number in operator.inputs:
            if number is not None and number not in known:
                why = tensors[number].oddity or "nothing makes before it, and the file has no numbers of"
                raise ZoovetError(f"{what} reads '{tensors[number].shown}', which {why}")
        for number in operator.outputs:
            if number in known:
                raise ZoovetError(f"{what} makes '{tensors[number].shown}', which is there before it")
            known.add(number)
