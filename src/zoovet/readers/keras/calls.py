"""One layer of a Keras model that is being written into a graph, and how its tensors lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoovet.readers.exported.values import Constant, Unreadable
from zoovet.readers.exported.writer import GraphWriter
from zoovet.readers.keras.model import Layer

__all__ = ["LayerCall", "LayerReader", "Layout", "Map", "pair"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a file's tensors lie.

    Attributes:
        channels_last: Maps are [N, height, width, channels]; else [N, channels, height, width], as sites are.
        is_of_keras_2: Whether an earlier Keras wrote it.
    """

    channels_last: bool
    is_of_keras_2: bool


@dataclass(frozen=True)
class Map:
    """A site. One of three axes is a map, channels first; others have their axes in Keras' order.

    Attributes:
        site: Its name.
        flattened: (channels, height, width) of a map that was flattened channels first where Keras has them last.
    """

    site: str
    flattened: tuple[int, int, int] | None = None


class LayerCall:
    """A layer that is being written.

    Args:
        layer: It.
        writer: Of the graph.
        inputs: What it reads.
        tensors: Its variables, as Keras lays them out.
        layout: Of the model.
    """

    def __init__(
        self, layer: Layer, writer: GraphWriter, inputs: list[Map], tensors: list[Tensor], layout: Layout
    ) -> None:
        self.layer, self.writer, self.inputs, self.layout = layer, writer, inputs, layout
        self.config: Mapping[str, Any] = layer.config
        self._tensors = list(tensors)

    @property
    def input(self) -> Map:
        """Its only input.

        Raises:
            Unreadable: It has several.
        """
        if len(self.inputs) != 1:
            raise Unreadable(f"reads {len(self.inputs)} layers, expected is one")
        return self.inputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first input's site."""
        return self.shape_of(self.inputs[0])

    def shape_of(self, value: Map) -> tuple[int, ...]:
        """A site's shape."""
        return self.writer.site(value.site).shape

    def require_map(self) -> tuple[int, int, int]:
        """(channels, height, width) of the input.

        Raises:
            Unreadable: It is no map.
        """
        shape = self.shape_of(self.input)
        if len(shape) != 3:
            raise Unreadable(f"reads {list(shape)}, expected is a map of three axes")
        return shape[0], shape[1], shape[2]

    def axis(self, number: int) -> int:
        """The site's axis for one of Keras', which counts images as axis 0.

        Raises:
            Unreadable: There is none.
        """
        rank = len(self.shape)
        number += rank + 1 if number < 0 else 0
        if not 1 <= number <= rank:
            raise Unreadable(f"works along axis {number} of {rank + 1}")
        return (1, 2, 0)[number - 1] if rank == 3 and self.layout.channels_last else number - 1

    @property
    def channel_axis(self) -> int:
        """Of the site's axes the one of channels."""
        return 0 if len(self.shape) in (1, 3) else len(self.shape) - 1

    def take(self, name: str) -> Tensor:
        """The next of its tensors."""
        if not self._tensors:
            raise Unreadable(f"has no {name} in the file")
        return self._tensors.pop(0)

    @property
    def num_left(self) -> int:
        """How many of its tensors were not taken."""
        return len(self._tensors)

    def learned(self, name: str, tensor: Tensor) -> Constant:
        """A parameter of the graph."""
        return Constant(tensor.contiguous(), f"{self.layer.name[:200]}.{name}", True)

    def fixed(self, name: str, tensor: Tensor) -> Constant:
        """Numbers of the graph that were not learned by gradients."""
        return Constant(tensor.contiguous(), f"{self.layer.name[:200]}.{name}")

    def bias(self) -> Constant | None:
        """Its bias, where it has one."""
        return self.learned("bias", self.take("bias")) if self.config.get("use_bias", True) else None

    def add(self, op: str, *sites: str, **settings: Any) -> str:
        """Write an operation on the first input, or on the given sites."""
        return self.writer.add(op, *(sites or (self.inputs[0].site,)), **settings)

    def beside(self, constant: Constant, axes: tuple[int, ...]) -> str:
        """A site of numbers along some of the input's axes, for arithmetic with it."""
        shape = self.shape
        sizes = tuple(shape[axis] if axis in axes else 1 for axis in range(len(shape)))
        order = sorted(range(len(axes)), key=lambda place: axes[place])
        numbers = constant.tensor.permute(order) if len(axes) > 1 else constant.tensor
        own = Constant(numbers.reshape(sizes).contiguous(), constant.name, constant.is_learned)
        channels = self.channel_axis
        return self.writer.constant_site(own, sizes, channels if channels in axes else None)

    def plain(self, value: Map) -> str:
        """A site in Keras' order: a map that was flattened is turned first."""
        if value.flattened is None:
            return value.site
        site = self.add("reshape", value.site, shape=value.flattened)
        return self.add("flatten", self.add("permute", site, dims=(1, 2, 0)))

    def like(self, op: str, **settings: Any) -> Map:
        """Write an operation on each number of the input alone."""
        return Map(self.add(op, self.input.site, **settings), self.input.flattened)

    def require_all_used(self) -> None:
        """Refuse tensors that were not read."""
        if self._tensors:
            raise Unreadable(f"has {len(self._tensors)} tensor{'s' * (len(self._tensors) > 1)} more than it reads")


LayerReader = Callable[[LayerCall], Map]
"""What writes a layer into the graph."""


def pair(value: Any) -> tuple[int, int]:
    """(height, width) of a setting that may be one number for both."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
