"""How much repair changed each layer and each channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, fold_batch_norms

__all__ = ["channel_changes", "layer_names", "relative_changes"]

FloatArray = NDArray[np.float64]

_LAYERS = ("conv2d", "linear")


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
    names, kinds_of = [], [_kinds(graph) for graph in graphs]
    for index in range(max(map(len, kinds_of))):
        kinds = {own[index] for own in kinds_of if index < len(own)}
        names.append(f"{kinds.pop() if len(kinds) == 1 else 'layer'} {index + 1}")
    return tuple(names)


def _kinds(graph: Graph) -> list[str]:
    """``conv`` or ``linear`` for each of its layers, in order."""
    if graph.is_chain:
        return [layer.kind for layer in graph.chain.layers]
    return ["conv" if one.op == "conv2d" else "linear" for one in graph.operations if one.op in _LAYERS]


def _layers(networks: Networks) -> list[Tensor]:
    """[B, out, in · kernel + 1] float64 a layer: what each output channel reads, its bias last; batch norms folded."""
    if networks.graph.is_chain:
        pairs = list(zip(networks.weights, networks.biases, strict=True))
    else:
        pairs = _layers_of_graph(fold_batch_norms(networks))
    return [torch.cat([weight.flatten(2), bias.unsqueeze(2)], dim=2).detach().cpu().double() for weight, bias in pairs]


def _layers_of_graph(networks: Networks) -> list[tuple[Tensor, Tensor]]:
    pairs = []
    for operation in networks.graph.operations:
        if operation.op in _LAYERS:
            own = {role: networks.parameters[name] for role, name in operation.parameters.items()}
            weight = own["weight"]
            pairs.append((weight, own.get("bias", weight.new_zeros(weight.shape[:2]))))
    return pairs


def _changes(before: Networks, after: Networks) -> list[Tensor]:
    if before.graph != after.graph or len(before) != len(after):
        raise ZoovetError(
            f"networks before and after repair must correspond: {len(before)} of {before.graph.describe()} before, "
            f"{len(after)} of {after.graph.describe()} after"
        )
    return [new - old for old, new in zip(_layers(before), _layers(after), strict=True)]


def _ratio(change: Tensor, norm: Tensor) -> FloatArray:
    return torch.where(norm > 0, change / norm, torch.nan).numpy()
