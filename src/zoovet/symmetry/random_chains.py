"""Random chains, the awkward ones included: what a symmetry check should be run on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from zoovet.errors import ZoovetError
from zoovet.networks.chains import mlp
from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import ACTIVATIONS, LayerSpec, PoolSpec

__all__ = ["random_chain"]

_Item = TypeVar("_Item")
_POOLINGS = (None, "average", "max", "global")


def random_chain(
    generator: torch.Generator,
    *,
    kind: str | None = None,
    num_layers: int | None = None,
    activations: Sequence[str] = ("relu", "leaky_relu", "tanh", "sine"),
    mixed: bool = False,
    poolings: Sequence[str | None] = _POOLINGS,
    kernels: Sequence[int] = (1, 3, 5, 7),
    max_width: int = 40,
    max_classes: int = 12,
) -> Graph:
    """Draw a chain: a multilayer perceptron, or convolutions followed by linear layers.

    Args:
        generator: Source of all randomness.
        kind: ``mlp`` or ``cnn``; drawn where ``None``.
        num_layers: Layers with weights; drawn from 1 to 6 where ``None``.
        activations: Names to draw the hidden layers' activation from.
        mixed: Draw another activation for every hidden layer instead of one for all.
        poolings: Pooling kinds (``average``, ``max``, ``global``, ``None`` for none) to draw from after a
            convolution. ``global`` is used for the last one, and only there; the others where the map is
            large enough.
        kernels: Kernel sizes of convolutions to draw from.
        max_width: Hidden layers have 1 to this many channels.
        max_classes: The output has 1 to this many channels.

    Returns:
        The chain. A ``cnn`` reads 1 to 3 channels of 8 to 12 pixels a side, an ``mlp`` 1 to 8 features. Where the
        last layer is a convolution, it is pooled globally whatever ``poolings`` are, so that the outputs are numbers.

    Raises:
        ZoovetError: ``kind``, an activation or a pooling is unknown, or ``num_layers`` is below 1.
    """
    _require_drawable(kind, num_layers, activations, poolings)
    kind = kind or _choice(("mlp", "cnn"), generator)
    num_layers = num_layers or _integer(1, 6, generator)
    widths = [_integer(1, max_width, generator) for _ in range(num_layers - 1)] + [_integer(1, max_classes, generator)]
    if kind == "mlp":
        graph = mlp((_integer(1, 8, generator), *widths))
    else:
        graph = _random_convolutions(generator, widths, poolings, kernels)
    one = _choice(activations, generator)
    names = [_choice(activations, generator) if mixed else one for _ in graph.chain.layers[:-1]]
    hidden = (replace(layer, activation=name) for layer, name in zip(graph.chain.layers, names, strict=False))
    return graph.with_layers((*hidden, graph.chain.layers[-1]))


def _require_drawable(
    kind: str | None, num_layers: int | None, activations: Sequence[str], poolings: Sequence[str | None]
) -> None:
    if kind not in (None, "mlp", "cnn"):
        raise ZoovetError(f"kind must be 'mlp', 'cnn' or None, got {kind!r}")
    unknown = [name for name in activations if name not in ACTIVATIONS] + [
        name for name in poolings if name not in _POOLINGS
    ]
    if unknown or not activations or not poolings:
        raise ZoovetError(
            f"activations must be some of {ACTIVATIONS} and poolings some of {_POOLINGS}, "
            f"got {tuple(activations)} and {tuple(poolings)}"
        )
    if num_layers is not None and num_layers < 1:
        raise ZoovetError(f"a network needs at least one layer, got num_layers = {num_layers}")


def _random_convolutions(
    generator: torch.Generator,
    widths: Sequence[int],
    poolings: Sequence[str | None],
    kernels: Sequence[int],
) -> Graph:
    """``widths`` are the channels after every layer. One layer at least is a convolution; activations are left out."""
    side, channels = _integer(8, 12, generator), _integer(1, 3, generator)
    input_shape = (channels, side, side)
    num_convolutions = _integer(1, len(widths), generator)
    layers: list[LayerSpec] = []
    for index, width in enumerate(widths):
        channels = layers[-1].out_channels if layers else input_shape[0]
        size = (
            Graph.of_layers(input_shape=input_shape, layers=tuple(layers)).chain.map_sizes[-1]
            if layers
            else (side, side)
        )
        if index >= num_convolutions:
            layers.append(LayerSpec(kind="linear", in_channels=channels, out_channels=width, kernel=size or ()))
            continue
        assert size is not None  # only the last convolution pools globally
        allowed = [pooling for pooling in poolings if pooling != "global" or index == num_convolutions - 1]
        pooling = "global" if index == len(widths) - 1 else _choice(allowed or [None], generator)
        layers.append(_random_convolution(generator, channels, width, size, _choice(kernels, generator), pooling))
    return Graph.of_layers(input_shape=input_shape, layers=tuple(layers))


def _random_convolution(
    generator: torch.Generator,
    in_channels: int,
    out_channels: int,
    size: tuple[int, int],
    kernel: int,
    pooling: str | None,
) -> LayerSpec:
    """A convolution that keeps at least one pixel: padding makes up for a kernel larger than the map."""
    dilation = _integer(1, 2, generator) if kernel == 3 and min(size) >= 5 else 1
    stride = _integer(1, 2, generator)
    reach = dilation * (kernel - 1)
    padding = max(_integer(0, reach // 2, generator), math.ceil((reach + 1 - min(size)) / 2))
    made = (min(size) + 2 * padding - reach - 1) // stride + 1
    pool = None
    if pooling == "global":
        pool = PoolSpec(kind="global")
    elif pooling == "average" and made >= 2:
        pool = PoolSpec(kind="average", kernel=(2, 2), stride=(_integer(1, 2, generator),) * 2)
    elif pooling == "max" and made >= 2:
        pool = PoolSpec(kind="max", kernel=(2, 2), stride=(_integer(1, 2, generator),) * 2, padding=(1, 1))
    return LayerSpec(
        kind="conv",
        in_channels=in_channels,
        out_channels=out_channels,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(dilation, dilation),
        pool=pool,
    )


def _integer(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))


def _choice(items: Sequence[_Item], generator: torch.Generator) -> _Item:
    return items[_integer(0, len(items) - 1, generator)]
