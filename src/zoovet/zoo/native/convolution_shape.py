"""A convolution's sizes, and the plain convolutions that its gradient to what it reads consists of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zoovet.networks import Graph, Operation
from zoovet.zoo.native.graph_lanes import lanes_of
from zoovet.zoo.native.libraries import NativeUnavailable

__all__ = ["ConvolutionShape", "Phase", "Sides"]

Sides = tuple[int, int, int, int]
"""Rows and columns (top, left, bottom, right)."""

_MOST_COLUMNS = 12


@dataclass(frozen=True)
class Phase:
    """Along one axis: the places ``first``, ``first + stride``, … of the input, and the taps that reach them.

    Attributes:
        first, count: The places.
        tap, taps: The first tap and their number; they are a stride apart (one, where there is no stride).
        base: The output's place that the first tap reads for the first place.
    """

    first: int
    count: int
    tap: int
    taps: int
    base: int


@dataclass(frozen=True)
class ConvolutionShape:
    """Sizes of a convolution; a linear operation is one of 1 × 1 on one pixel.

    Attributes:
        channels_in, channels_out, groups: Channels.
        kernel, stride, dilation: Along height and width.
        padding: Top and left.
        into, out: Sizes of the maps.
        lanes: Numbers a vector of the trainer.
    """

    channels_in: int
    channels_out: int
    groups: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    into: tuple[int, int]
    out: tuple[int, int]
    lanes: int

    @classmethod
    def of(cls, graph: Graph, operation: Operation) -> ConvolutionShape:
        """The shape of a ``conv2d`` or ``linear``.

        Raises:
            NativeUnavailable: The C code lacks it: stride and dilation at once, a wide depthwise kernel, or rows.
        """
        source, result = graph.sites[operation.inputs[0]].shape, graph.sites[operation.output].shape
        weight = graph.shapes[operation.parameters["weight"]]
        one = (1, 1)
        if operation.op == "linear":
            if len(source) != 1:
                raise NativeUnavailable(f"{operation.describe()} on {list(source)}: it knows vectors only")
            return cls(weight[1], weight[0], 1, one, one, one, (0, 0), one, one, lanes_of(graph))
        settings = operation.attributes
        shape = cls(
            source[0],
            weight[0],
            settings["groups"],
            (weight[2], weight[3]),
            settings["stride"],
            settings["dilation"],
            settings["padding"][:2],
            (source[1], source[2]),
            (result[1], result[2]),
            lanes_of(graph),
        )
        if any(stride > 1 and dilation > 1 for stride, dilation in zip(shape.stride, shape.dilation, strict=True)):
            raise NativeUnavailable(f"{operation.describe()} has both a stride and a dilation")
        if shape.is_depthwise and shape.kernel[1] > _MOST_COLUMNS:
            raise NativeUnavailable(f"{operation.describe()} is depthwise with a kernel of {shape.kernel[1]} columns")
        return shape

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel makes one of its own."""
        return 1 < self.groups == self.channels_in == self.channels_out

    @property
    def is_merged(self) -> bool:
        """Whether it is computed as one group, with zeros: groups that are no whole vectors, and one group."""
        return not self.is_depthwise and (
            self.groups == 1 or bool(self.reads % self.lanes or self.channels_out // self.groups % self.lanes)
        )

    @property
    def reads(self) -> int:
        """Channels that an output reads."""
        return self.channels_in // self.groups

    @property
    def input_sides(self) -> Sides:
        """Zeros that its windows read around the input."""
        beyond = [
            max(0, (self.out[axis] - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis]
                - self.padding[axis] - self.into[axis] + 1)
            for axis in range(2)
        ]  # fmt: skip
        return (*self.padding, beyond[0], beyond[1])

    @property
    def gradient_sides(self) -> Sides:
        """Zeros that the gradient to the input reads around that to the output."""
        before, behind = [], []
        for axis in range(2):
            step = self.dilation[axis]
            phases = [phase for phase in self.phases(axis) if phase.taps and phase.count]
            before.append(max([0, *((phase.taps - 1) * step - phase.base for phase in phases)]))
            behind.append(max([0, *(phase.base + phase.count - self.out[axis] for phase in phases)]))
        return before[0], before[1], behind[0], behind[1]

    def phases(self, axis: int) -> Iterator[Phase]:
        """The input's places by their remainder under the stride: each is reached by the same taps."""
        stride = self.stride[axis]
        for first in range(min(stride, self.into[axis])):
            shifted = first + self.padding[axis]
            tap = shifted % stride
            taps = max(0, -(-(self.kernel[axis] - tap) // stride))
            yield Phase(first, -(-(self.into[axis] - first) // stride), tap, taps, shifted // stride)
