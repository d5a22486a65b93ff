"""One node of an ONNX file with the values that it reads, and the ways to write it into a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from zoovet.readers.exported.calls import Call
from zoovet.readers.exported.values import NUM_IMAGES, Constant, Unreadable, Variable
from zoovet.readers.exported.vocabulary import READERS
from zoovet.readers.exported.writer import GraphWriter
from zoovet.readers.onnx.model import Node

__all__ = ["FileValues", "Layer", "NodeCall", "NodeReader", "Value", "axes_of", "joint_shape", "shape_of"]

Value = Constant | Variable
_MAX_INTEGERS = 64
_MAX_COMPUTED = 2**27


@dataclass(frozen=True)
class Layer:
    """A convolution or product without a bias, which an addition behind it may be."""

    op: str
    value: Variable
    weight: Constant
    attributes: Mapping[str, Any]


@dataclass
class FileValues:
    """What is known while a file's nodes are walked.

    Attributes:
        writer: Where the graph is written.
        opset: Version of ONNX's operations.
        batch: How many images the file is fixed to; ``None`` where it takes any number.
        num_readers: Name of a value → how often nodes read it.
        by_name: FileValues so far.
        layers: Site → the layer without a bias that makes it.
        num_computed: Numbers of constants that were computed so far.
    """

    writer: GraphWriter
    opset: int
    batch: int | None
    num_readers: Mapping[str, int]
    by_name: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    num_computed: int = 0


@dataclass
class NodeCall:
    """A node about to be read.

    Attributes:
        node: As in the file.
        values: What is known so far.
    """

    node: Node
    values: FileValues
    _used: set[str] = field(default_factory=set)

    @property
    def writer(self) -> GraphWriter:
        """Where the graph is written."""
        return self.values.writer

    @property
    def opset(self) -> int:
        """Version of ONNX's operations."""
        return self.values.opset

    def attribute(self, name: str, default: Any = None, kind: type | tuple[type, ...] | None = None) -> Any:
        """A setting; ``default`` where it is left out.

        Raises:
            Unreadable: It has another type than the default, or than ``kind``.
        """
        self._used.add(name)
        value = self.node.attributes.get(name, default)
        kind = kind or (type(default) if default is not None else None)
        if name in self.node.attributes and kind is not None and not isinstance(value, kind):
            raise Unreadable(f"has an attribute {name!r} of another type than it must be")
        return value

    def ints(self, name: str) -> tuple[int, ...] | None:
        """A setting that is a list of integers."""
        value: tuple[int, ...] | None = self.attribute(name, None, tuple)
        if value is not None and not all(isinstance(item, int) for item in value):
            raise Unreadable(f"has an attribute {name!r} of another type than it must be")
        return value

    def claim(self, count: int) -> None:
        """Count numbers of constants that are about to be computed.

        Raises:
            Unreadable: They are too many.
        """
        self.values.num_computed += count
        if self.values.num_computed > _MAX_COMPUTED:
            raise Unreadable(f"would bring the constants to be computed to more than {_MAX_COMPUTED} numbers")

    def require_all_used(self) -> None:
        """Refuse settings that nothing looked at.

        Raises:
            Unreadable: There is one.
        """
        for name in self.node.attributes:
            if name not in self._used:
                raise Unreadable(f"has the attribute {name!r}, which is not known")

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def value(self, index: int) -> Value:
        """An input.

        Raises:
            Unreadable: It is left out.
        """
        if not self.has(index):
            raise Unreadable(f"lacks its input {index}")
        value = self.values.by_name[self.node.inputs[index]]
        if not isinstance(value, Constant | Variable):
            raise Unreadable("reads what is no tensor")
        return value

    def variable(self, index: int = 0) -> Variable:
        """An input that must depend on the images."""
        value = self.value(index)
        if not isinstance(value, Variable):
            raise Unreadable(f"reads a constant as its input {index} beside values that depend on the images")
        return value

    def constant(self, index: int) -> Constant | None:
        """An input that must not depend on the images; ``None`` where it is left out."""
        if not self.has(index):
            return None
        value = self.value(index)
        if not isinstance(value, Constant):
            raise Unreadable(f"has an input {index} that depends on the images; only constants are known there")
        return value

    def weight(self, index: int) -> Constant:
        """A constant that must be given."""
        self.value(index)
        constant = self.constant(index)
        assert constant is not None
        return constant

    def integers(self, index: int) -> tuple[int, ...] | None:
        """An input that holds a few integers; ``None`` where it is left out."""
        constant = self.constant(index)
        if constant is None:
            return None
        if constant.tensor.is_floating_point() or constant.tensor.ndim > 1 or constant.tensor.numel() > _MAX_INTEGERS:
            raise Unreadable(f"has an input {index} that is no short list of integers")
        return tuple(int(number) for number in constant.tensor.flatten().tolist())

    def axes(self, index: int, since: int, name: str = "axes") -> tuple[int, ...] | None:
        """Axes, which were an attribute before opset ``since`` and are an input from there on."""
        return self.integers(index) if self.opset >= since else self.ints(name)

    def number(self, index: int) -> float | None:
        """An input of one number; ``None`` where it is left out."""
        constant = self.constant(index)
        if constant is None:
            return None
        if constant.tensor.numel() != 1:
            raise Unreadable(f"has an input {index} that is no single number")
        return float(constant.tensor.item())

    def aten(self, name: str, shape: tuple[int, ...] = (), /, **arguments: Any) -> Any:
        """Write what torch's operator of a name does, by the reader of traced programs.

        Args:
            name: Of the operator.
            shape: Of the result, where its reader needs it.
            arguments: By the operator's own names.
        """
        result = READERS[name](Call(self.writer, arguments, shape))
        return self.fitted(result) if isinstance(result, Variable) else result

    def shape_in_file(self, value: Variable) -> tuple[int, ...]:
        """A value's shape as the file has it: with its own number of images where that is fixed."""
        if self.values.batch is None:
            return value.shape
        here = value.shape[value.axis] // NUM_IMAGES * self.values.batch
        return (*value.shape[: value.axis], here, *value.shape[value.axis + 1 :])

    def for_one_image(self, constant: Constant, value: Variable) -> Constant:
        """A constant that a file for a fixed number of images repeats for each, once; others as they are.

        Args:
            constant: It.
            value: Beside which it stands.
        """
        tensor, batch = constant.tensor, self.values.batch or 1
        axis = value.axis - len(value.shape) + tensor.ndim
        if batch == 1 or value.is_merged or axis < 0 or tensor.shape[axis] != batch:
            return constant
        once = tensor.narrow(axis, 0, 1)
        return Constant(once, "", constant.is_learned) if torch.equal(once.expand_as(tensor), tensor) else constant

    def fitted(self, value: Variable) -> Variable:
        """A value with the shape that its site has."""
        return self.made(value, value.site)

    def made(self, like: Variable, site: str) -> Variable:
        """A site's value, with images where another value has them."""
        shape = list(self.writer.site(site).shape)
        if like.is_merged:
            shape[like.axis] *= NUM_IMAGES
        else:
            shape.insert(like.axis, NUM_IMAGES)
        return like.like(site, shape)

    def step(self, op: str, value: Variable, **attributes: Any) -> Variable:
        """Write an operation of the vocabulary that keeps the shape."""
        return self.made(value, self.writer.add(op, value.site, **attributes))


NodeReader = Callable[[NodeCall], Any]
"""What writes a node into the graph and gives its value, or one for each of its outputs in a list."""


def joint_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """What shapes broadcast to.

    Raises:
        Unreadable: They do not fit.
    """
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except (RuntimeError, ValueError):
        shown = " and ".join(str(_shown(shape)) for shape in shapes)
        raise Unreadable(f"puts {shown} together, which do not fit") from None


def _shown(shape: tuple[int, ...]) -> list[int | str]:
    return ["N" if size == NUM_IMAGES else size for size in shape]


def axes_of(value: Value, axes: tuple[int, ...]) -> list[int]:
    """Axes counted from the front.

    Raises:
        Unreadable: The value has no such axis.
    """
    rank = len(shape_of(value))
    for axis in axes:
        if not -rank <= axis < rank:
            raise Unreadable(f"names the axis {axis} of {rank}")
    return [axis % rank for axis in axes]


def shape_of(value: Value) -> tuple[int, ...]:
    """A value's shape, images included."""
    return tuple(value.tensor.shape) if isinstance(value, Constant) else value.shape
