"""One operator of a TensorFlow Lite file that is being read: its tensors in either layout, and nodes in its place.

The file's maps are [N, height, width, channels], a graph's [N, channels, height, width]. A map is kept in the graph's
layout as long as operators allow it, and turned where one reads it as it lies in the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from zoovet.readers.exported.values import NUM_IMAGES, Constant, Unreadable, Variable
from zoovet.readers.loaded import GraphData
from zoovet.readers.onnx.calls import FileValues, NodeCall, shape_of
from zoovet.readers.onnx.model import Node
from zoovet.readers.onnx.program import MAX_NAME, results_of
from zoovet.readers.tflite.model import FileTensor, Operator

__all__ = ["MAP_AXES", "TO_FILE", "TO_MAP", "Held", "OperatorCall", "OperatorReader", "Walk"]

TO_MAP, TO_FILE = (0, 3, 1, 2), (0, 2, 3, 1)
"""Orders of axes that turn a map of the file into one of the graph, and back."""

MAP_AXES = (0, 2, 3, 1)
"""Which axis of a graph's map each of the file's is."""

_MAX_INTEGERS = 64
_IMAGE_AXES = 3


@dataclass(frozen=True)
class Held:
    """What a tensor of the file is.

    Attributes:
        name: Of a value that is known.
        is_map: Whether it has channels first where the tensor has them last.
        is_flat: Whether it is such a map, and the tensor that map flattened, [N, height · width · channels].
        stored: Number of the tensor whose numbers in the file it is.
        dealt: Of a map whose neighbours lie in different images in the file, and here beside each other: how many
            down and right.
    """

    name: str
    is_map: bool = False
    is_flat: bool = False
    stored: int | None = None
    dealt: tuple[int, int] | None = None


@dataclass
class Walk:
    """What is known while a file's operators are read.

    Attributes:
        data: The file.
        tensors: Of the file.
        values: Values by name, and the graph that is being written.
        held: Number of a tensor → what it is.
        notes: On how numbers were read.
    """

    data: GraphData
    tensors: Sequence[FileTensor]
    values: FileValues
    held: dict[int, Held]
    notes: dict[str, None] = field(default_factory=dict)
    _arranged: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _turned: dict[tuple[str, tuple[int, ...]], str] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)
    _num_arranged: int = 0
    _num_names: int = 0

    def value(self, name: str) -> Constant | Variable:
        """A value that is known."""
        value: Constant | Variable = self.values.by_name[name]
        return value

    def shape(self, name: str) -> tuple[int, ...]:
        """A value's shape, images included."""
        return shape_of(self.value(name))

    def keep(self, value: Constant | Variable) -> str:
        """A new name of a value."""
        self._num_names += 1
        name = f"value {self._num_names}"
        self.values.by_name[name] = value
        return name

    def hold(self, number: int) -> Held:
        """What a tensor is: numbers of the file are read when they are asked for first."""
        if number not in self.held:
            own = self.tensors[number]
            tensor = own.numbers(self.data)
            if own.dtype == "float16":
                self.notes["weights of float16 are read as float32"] = None
            if tensor.is_floating_point():
                tensor = tensor.float()
            elif tensor.dtype != torch.bool:
                tensor = tensor.long()
            self.held[number] = Held(self.keep(Constant(tensor)), stored=number)
        return self.held[number]

    def arranged(
        self, number: int, shape: tuple[int, ...], order: tuple[int, ...], final: tuple[int, ...] | None = None
    ) -> str:
        """Numbers of the file in another order.

        Args:
            number: Of the tensor.
            shape: That it is brought into.
            order: Of its axes then.
            final: Shape of the result, where it is another.

        Raises:
            Unreadable: It has not as many numbers, or tensors are turned in many ways.
        """
        key = (number, shape, order, final)
        if key not in self._arranged:
            own = self.value(self.hold(number).name)
            assert isinstance(own, Constant)
            self._num_arranged += own.tensor.numel()
            if self._num_arranged > len(self.data.file):
                raise Unreadable("and those before it read weights in more ways than networks do")
            tensor = own.tensor.reshape(shape).permute(order).contiguous()
            tensor = tensor if final is None else tensor.reshape(final)
            is_learned = tensor.is_floating_point() and tensor.ndim > 0
            self._arranged[key] = self.keep(Constant(tensor, self._new_name(number), is_learned))
        return self._arranged[key]

    def turned(self, name: str, order: tuple[int, ...], turn: Callable[[], str]) -> str:
        """A value with its axes in another order, made once."""
        if (name, order) not in self._turned:
            self._turned[name, order] = turn()
        return self._turned[name, order]

    def _new_name(self, number: int) -> str:
        """What a parameter is called: as its tensor, with a number where that is used in several layouts."""
        own, count = self.tensors[number].name, 1
        name = own
        while name in self._named:
            count += 1
            name = f"{own} ({count})"
        self._named.add(name)
        return name


@dataclass
class OperatorCall:
    """An operator about to be read.

    Attributes:
        operator: As in the file.
        walk: What is known so far.
    """

    operator: Operator
    walk: Walk

    @property
    def settings(self) -> Mapping[str, Any]:
        """By name."""
        return self.operator.settings

    @property
    def num_inputs(self) -> int:
        """Inputs, those that are left out too."""
        return len(self.operator.inputs)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < self.num_inputs and self.operator.inputs[index] is not None

    def held(self, index: int = 0) -> Held:
        """An input.

        Raises:
            Unreadable: It is left out.
        """
        number = self.operator.inputs[index] if index < self.num_inputs else None
        if number is None:
            raise Unreadable(f"lacks its input {index}")
        return self.walk.hold(number)

    def tensor(self, index: int) -> FileTensor:
        """An input as the file describes it."""
        self.held(index)
        number = self.operator.inputs[index]
        assert number is not None
        return self.walk.tensors[number]

    def stored(self, index: int) -> tuple[int, tuple[int, ...]]:
        """Number and shape of an input whose numbers stand in the file.

        Raises:
            Unreadable: It is computed.
        """
        held = self.held(index)
        if held.stored is None:
            raise Unreadable(f"computes its input {index}; only numbers that stand in the file are known there")
        return held.stored, self.walk.shape(held.name)

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Of an input as it is held: of a map channels first."""
        return self.walk.shape(self.held(index).name)

    def is_variable(self, index: int = 0) -> bool:
        """Whether an input depends on the images."""
        return isinstance(self.walk.value(self.held(index).name), Variable)

    def plain(self, index: int = 0) -> str:
        """The name of an input as it lies in the file."""
        held = self.held(index)
        if held.stored is not None:
            whole = self.walk.shape(held.name)
            return self.walk.arranged(held.stored, whole, tuple(range(len(whole))))
        if not held.is_map and not held.is_flat:
            return held.name
        lying = self.walk.turned(held.name, TO_FILE, lambda: self.one("Transpose", held.name, perm=TO_FILE))
        if not held.is_flat:
            return lying
        return self.one("Reshape", lying, self.integers((self.num_images(held.name), -1)))

    def map(self, index: int = 0) -> str:
        """The name of an input of four axes, channels first.

        Raises:
            Unreadable: It has another number of axes.
        """
        held = self.held(index)
        if held.is_map:
            return held.name
        if held.is_flat or len(self.shape(index)) != len(TO_MAP):
            raise Unreadable("reads no map of height, width and channels")
        if held.stored is not None:
            return self.walk.arranged(held.stored, self.shape(index), TO_MAP)
        return self.walk.turned(held.name, TO_MAP, lambda: self.one("Transpose", held.name, perm=TO_MAP))

    def beside(self, index: int, rank: int) -> str:
        """The name of an operand of an operation with values of some axes as they lie in the file.

        Numbers of the file are without a first axis of 1 that stands for images.
        """
        held, shape = self.held(index), self.shape(index)
        if held.stored is None or len(shape) < 2 or shape[0] != 1 or len(shape) > rank:
            return self.plain(index)
        return self.walk.arranged(held.stored, shape[1:], tuple(range(len(shape) - 1)))

    def beside_map(self, index: int) -> str | None:
        """The name of an operand of an operation with maps, channels first; ``None`` where it has no such form."""
        held, shape = self.held(index), self.shape(index)
        if held.is_map or self.is_variable(index):
            return None if held.is_flat or len(shape) != len(TO_MAP) else self.map(index)
        if math.prod(shape) == 1 or len(shape) > len(TO_MAP):
            return self.plain(index) if len(shape) <= len(TO_MAP) else None
        own = shape[1:] if len(shape) == len(TO_MAP) and shape[0] == 1 else shape
        whole = (*(1,) * (_IMAGE_AXES - len(own)), *own)
        order = (2, 0, 1) if len(whole) == _IMAGE_AXES else TO_MAP
        if held.stored is not None:
            return self.walk.arranged(held.stored, whole, order)
        return self.one("Transpose", self.one("Reshape", held.name, self.integers(whole)), perm=order)

    def num_images(self, name: str) -> int:
        """How many images the file has along a value's first axis."""
        count, batch = self.walk.shape(name)[0], self.walk.values.batch
        return count if batch is None or isinstance(self.walk.value(name), Constant) else count // NUM_IMAGES * batch

    def known_integers(self, index: int) -> tuple[int, ...]:
        """An input of a few whole numbers that do not depend on the images.

        Raises:
            Unreadable: It depends on them, or is none.
        """
        value = self.walk.value(self.held(index).name)
        if not isinstance(value, Constant):
            raise Unreadable(f"has an input {index} that depends on the images; only constants are known there")
        if value.tensor.is_floating_point() or value.tensor.numel() > _MAX_INTEGERS:
            raise Unreadable(f"has an input {index} that is no short list of whole numbers")
        return tuple(int(number) for number in value.tensor.flatten().tolist())

    def integers(self, numbers: Sequence[int]) -> str:
        """The name of a list of whole numbers, as nodes read sizes and axes."""
        return self.walk.keep(Constant(torch.tensor(list(numbers), dtype=torch.int64)))

    def number(self, number: float) -> str:
        """The name of a number."""
        return self.walk.keep(Constant(torch.tensor(float(number))))

    def one(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The name of what a node makes.

        Args:
            op: Name of an operation of ONNX, of opset 20.
            inputs: Names of values; ``""`` for what is left out.
            attributes: Its settings.
        """
        return self.several(op, *inputs, count=1, **attributes)[0]

    def several(self, op: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        """Names of what a node makes."""
        self.walk.values.writer.name = self.operator.makes[:MAX_NAME]
        results = results_of(NodeCall(self._node(op, inputs, count, attributes), self.walk.values))
        return [self.walk.keep(result) for result in results]

    def _node(self, op: str, inputs: Sequence[str], count: int, attributes: Mapping[str, Any]) -> Node:
        outputs = tuple(f"output {index}" for index in range(count))
        return Node(op, self.operator.makes, tuple(inputs), outputs, attributes, self.operator.index)


OperatorReader = Callable[[OperatorCall], Held | list[Held]]
"""What reads an operator and says what its outputs are."""
