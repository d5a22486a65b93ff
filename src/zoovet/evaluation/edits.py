"""How much repair changed each layer and each channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks

__all__ = ["channel_changes", "layer_names", "relative_changes"]

FloatArray = NDArray[np.float64]


def relative_changes(before: Networks, after: Networks) -> FloatArray:
    """Norm of each layer's change over the layer's norm before; a layer is its weight and bias.

    Returns:
        [B, L] float64; NaN for a layer that was zero before.

    Raises:
        ZoovetError: The networks differ in graph or number.
    """
    layers = zip(_layers(before), _changes(before, after), strict=True)
    return np.stack(
        [_ratio(change.flatten(1).norm(dim=1), layer.flatten(1).norm(dim=1)) for layer, change in layers], 1
    )


def channel_changes(before: Networks, after: Networks) -> list[FloatArray]:
    """Norm of the change of what each output channel reads (weights and bias) over the layer's norm before.

    The squares of a layer's channels sum to the square of its :func:`relative_changes`.

    Returns:
        L arrays [B, C] float64; NaN for a layer that was zero before.

    Raises:
        ZoovetError: The networks differ in graph or number.
    """
    layers = zip(_layers(before), _changes(before, after), strict=True)
    return [_ratio(change.norm(dim=2), layer.flatten(1).norm(dim=1, keepdim=True)) for layer, change in layers]


def layer_names(graphs: Sequence[Graph]) -> tuple[str, ...]:
    """``conv 1``, ``conv 2``, ``linear 3``: layers of the deepest graph; ``layer 2`` where graphs differ in kind."""
    names = []
    for index in range(max(len(graph.chain.layers) for graph in graphs)):
        kinds = {graph.chain.layers[index].kind for graph in graphs if index < len(graph.chain.layers)}
        names.append(f"{kinds.pop() if len(kinds) == 1 else 'layer'} {index + 1}")
    return tuple(names)


def _layers(networks: Networks) -> list[Tensor]:
    """[B, out, in · kernel + 1] float64 a layer: what each output channel reads, its bias last."""
    return [
        torch.cat([weight.flatten(2), bias.unsqueeze(2)], dim=2).detach().cpu().double()
        for weight, bias in zip(networks.weights, networks.biases, strict=True)
    ]


def _changes(before: Networks, after: Networks) -> list[Tensor]:
    if before.graph != after.graph or len(before) != len(after):
        raise ZoovetError(
            f"networks before and after repair must correspond: {len(before)} of {before.graph.describe()} before, "
            f"{len(after)} of {after.graph.describe()} after"
        )
    return [new - old for old, new in zip(_layers(before), _layers(after), strict=True)]


def _ratio(change: Tensor, norm: Tensor) -> FloatArray:
    return torch.where(norm > 0, change / norm, torch.nan).numpy()
