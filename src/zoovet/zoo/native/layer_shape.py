"""A layer as the compiled trainers see it: a convolution on a map, and a pooling."""

from __future__ import annotations

from dataclasses import dataclass

from zoovet.networks.layer_spec import LayerSpec

__all__ = ["ACTIVATIONS", "LayerShape"]

ACTIVATIONS = {
    "identity": "IDENTITY",
    "relu": "RELU",
    "leaky_relu": "LEAKY_RELU",
    "tanh": "TANH",
    "sigmoid": "SIGMOID",
}
"""The activations that the compiled trainers know, and what they call them."""

_POOLS = {"global": "GLOBAL_POOL", "average": "AVERAGE_POOL", "max": "MAX_POOL"}

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class LayerShape:
    """Sizes of a layer; a linear one is a convolution whose kernel is as large as the map.

    Attributes:
        layer: The layer.
        into: The map it reads, without padding.
        kernel: Its kernel.
        out: The map before pooling.
        pool: The compiled trainers' name of the pooling.
        window, step, border: The pooling's kernel, stride and padding.
        pooled: The map after pooling.
    """

    layer: LayerSpec
    into: Size
    kernel: Size
    out: Size
    pool: str
    window: Size
    step: Size
    border: Size
    pooled: Size

    @classmethod
    def of(cls, layer: LayerSpec, size: Size | None) -> LayerShape:
        """The shape of a layer on a map of this size, or on a vector."""
        into, (high, wide) = size or (1, 1), layer.kernel or (1, 1)
        kernel = (high, wide)
        spread = (layer.dilation[0] * (high - 1) + 1, layer.dilation[1] * (wide - 1) + 1)
        out = _places(into, spread, layer.stride, layer.padding)
        if layer.pool is None:
            return cls(layer, into, kernel, out, "NO_POOL", (1, 1), (1, 1), (0, 0), out)
        pool = _POOLS[layer.pool.kind]
        if layer.pool.kind == "global":
            return cls(layer, into, kernel, out, pool, out, out, (0, 0), (1, 1))
        window, step, border = layer.pool.kernel, layer.pool.stride, layer.pool.padding
        return cls(layer, into, kernel, out, pool, window, step, border, _places(out, window, step, border))

    @property
    def constants(self) -> str:
        """The first fields of the trainers' ``layer``, up to the pooled map's size."""
        layer = self.layer
        shape = (layer.in_channels, layer.out_channels, *self.kernel, *layer.stride, *layer.padding, *layer.dilation)
        slope = layer.activation_parameter if layer.activation == "leaky_relu" else 0.0
        pooling = (*self.window, *self.step, *self.border, *self.pooled)
        return (
            f"{_numbers(*shape, *self.into, *self.out)}, {ACTIVATIONS[layer.activation]}, {slope!r}f, "
            f"{self.pool}, {_numbers(*pooling)}"
        )


def _places(size: Size, window: Size, step: Size, border: Size) -> Size:
    """Where a window fits on a map, along height and width."""
    height, width = ((size[axis] + 2 * border[axis] - window[axis]) // step[axis] + 1 for axis in range(2))
    return height, width


def _numbers(*numbers: int) -> str:
    return ", ".join(map(str, numbers))
