"""A chain: layers one after another, as channel groups and blocks.

A group is a set of channels (neurons) that permute and scale together: the input, each hidden layer, the output. A
block is a layer's weights from one group to another. A chain has one block between consecutive groups.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from zoovet.errors import ZoovetError
from zoovet.networks.input_shape import require_input_shape
from zoovet.networks.json_values import plain
from zoovet.networks.layer_spec import LayerSpec, PoolSpec

__all__ = ["Block", "Chain", "Group"]


@dataclass(frozen=True)
class Group:
    """A set of channels that permute and scale together.

    Attributes:
        size: Number of channels.
        role: ``input``, ``hidden`` or ``output``.
        depth: Position from the input, 0 for the input itself.
    """

    size: int
    role: Literal["input", "hidden", "output"]
    depth: int


@dataclass(frozen=True)
class Block:
    """Layer ``layer``'s weights, from group ``source`` to group ``target`` (indices into ``groups``)."""

    source: int
    target: int
    layer: int


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A graph's layers, one after another, each with a weight and a bias of its own.

    Attributes:
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``.
        layers: The layers in order. The last one's output, after its activation and pooling, is the network's.
        weights: By layer, the name of its weight among the graph's parameters.
        biases: By layer, the name of its bias.
        sites: By layer, the site that holds what it makes, activation and pooling included.

    Raises:
        ZoovetError: Layers do not fit one another or the input; the message names the layer and both sizes.
    """

    input_shape: tuple[int, ...]
    layers: tuple[LayerSpec, ...]
    weights: tuple[str, ...]
    biases: tuple[str, ...]
    sites: tuple[str, ...]

    def __post_init__(self) -> None:
        require_input_shape(self.input_shape)
        if not self.layers:
            raise ZoovetError("a network needs at least one layer, got none")
        _ = self.map_sizes

    @cached_property
    def map_sizes(self) -> tuple[tuple[int, int] | None, ...]:
        """(height, width) of the input and after every layer, its pooling included; ``None`` where there is no map."""
        first = (self.input_shape[1], self.input_shape[2]) if len(self.input_shape) == 3 else None
        return (first, *(after for _, after in self._sizes(first)))

    @cached_property
    def unpooled_sizes(self) -> tuple[tuple[int, int] | None, ...]:
        """(height, width) that every layer makes before its pooling; ``None`` where it makes no map."""
        return tuple(before for before, _ in self._sizes(self.map_sizes[0]))

    def _sizes(self, size: tuple[int, int] | None) -> list[tuple[tuple[int, int] | None, tuple[int, int] | None]]:
        """Sizes before and after each layer's pooling, checking that the layers fit one another."""
        channels = self.input_shape[0]
        sizes = []
        for index, layer in enumerate(self.layers):
            if layer.in_channels != channels:
                raise ZoovetError(
                    f"layer {index} ({layer.kind}) reads {layer.in_channels} channels, but {channels} come in"
                )
            before = _size_after_weights(index, layer, size)
            size = _size_after_pooling(index, layer, before)
            channels = layer.out_channels
            sizes.append((before, size))
        return sizes

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The channel groups: input, each hidden layer, output."""
        last = len(self.layers) - 1
        groups = [Group(self.input_shape[0], "input", 0)]
        for index, layer in enumerate(self.layers):
            role: Literal["hidden", "output"] = "output" if index == last else "hidden"
            groups.append(Group(layer.out_channels, role, index + 1))
        return tuple(groups)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """One block a layer, in the order of ``layers``."""
        return tuple(Block(index, index + 1, index) for index in range(len(self.layers)))

    @cached_property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of every layer's weight: (out, in, \\*kernel)."""
        return tuple(layer.weight_shape for layer in self.layers)

    @cached_property
    def bias_shapes(self) -> tuple[tuple[int], ...]:
        """Shape of every layer's bias: (out,)."""
        return tuple((layer.out_channels,) for layer in self.layers)

    @property
    def activation(self) -> str:
        """The activation of the hidden layers where they share one (``identity`` where there is no hidden layer).

        Raises:
            ZoovetError: The hidden layers have different activations.
        """
        names = {layer.activation for layer in self.layers[:-1]} or {"identity"}
        if len(names) > 1:
            raise ZoovetError(f"the hidden layers have several activations: {', '.join(sorted(names))}")
        return names.pop()

    def describe(self) -> str:
        """One line for people: ``1×28×28 → conv 16 3×3 /2 relu → … → linear 10``."""
        parts = ["×".join(map(str, self.input_shape))]
        for layer in self.layers:
            part = f"{layer.kind} {layer.out_channels}"
            if layer.kind == "conv":
                part += f" {layer.kernel[0]}×{layer.kernel[1]}"
            if layer.stride != (1, 1):
                part += f" /{layer.stride[0]}"
            if layer.activation != "identity":
                part += f" {layer.activation}"
            if layer.pool:
                part += f" {layer.pool.kind}-pool"
            parts.append(part)
        return " → ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Input shape and layers as plain JSON values."""
        return {"input_shape": list(self.input_shape), "layers": [plain(asdict(layer)) for layer in self.layers]}


def _size_after_weights(index: int, layer: LayerSpec, size: tuple[int, int] | None) -> tuple[int, int] | None:
    if layer.kind == "conv":
        if size is None:
            raise ZoovetError(f"layer {index} is a conv layer, but what comes in has no height and width")
        return _slide(size, layer, layer.dilation, f"layer {index} (conv)")
    if (size or ()) != layer.kernel:
        raise ZoovetError(
            f"layer {index} (linear) is declared to read {layer.kernel or 'no map'}, but what comes in is "
            f"{size or 'no map'}; set kernel to the map's (height, width), or pool the map away"
        )
    return None


def _size_after_pooling(index: int, layer: LayerSpec, size: tuple[int, int] | None) -> tuple[int, int] | None:
    if layer.pool is None or size is None:
        return size
    if layer.pool.kind == "global":
        return None
    return _slide(size, layer.pool, (1, 1), f"layer {index}'s pooling")


def _slide(
    size: tuple[int, int], window: LayerSpec | PoolSpec, dilation: tuple[int, int], where: str
) -> tuple[int, int]:
    spans = [dilation[axis] * (window.kernel[axis] - 1) + 1 for axis in (0, 1)]
    height, width = (
        (size[axis] + 2 * window.padding[axis] - spans[axis]) // window.stride[axis] + 1 for axis in (0, 1)
    )
    if height < 1 or width < 1:
        raise ZoovetError(f"{where}: its {spans[0]}×{spans[1]} window does not fit a map of {size[0]}×{size[1]}")
    return height, width
