"""A graph's weights as numbers of its structure's nodes and edges, and changes of those as changes of its weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoovet.metanets.contents import Weights
from zoovet.metanets.graph_parameters import EdgeParameter, NodeParameter
from zoovet.metanets.graph_structure import graph_structure
from zoovet.metanets.structure import StructureBlock
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph

__all__ = ["graph_changes", "graph_weights"]


def graph_weights(networks: Networks, node_features: tuple[Tensor, ...] | None) -> Weights:
    """The numbers of B networks of a graph, by block and by group of its :func:`graph_structure`.

    Those of a batch norm are what it multiplies with and adds, its statistics taken into account.
    """
    structure = graph_structure(networks.graph)
    weights = [
        None if parameter is None else _edge_numbers(networks, block, parameter)
        for block, parameter in zip(structure.blocks, structure.edge_parameters, strict=True)
    ]
    biases = [
        None if parameter is None else _node_numbers(networks, group.size, parameter)
        for group, parameter in zip(structure.groups, structure.node_parameters, strict=True)
    ]
    return Weights(tuple(weights), tuple(biases), node_features)


def graph_changes(graph: Graph, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Networks:
    """Changes of the edges' and the nodes' numbers as changes of all parameters.

    Args:
        graph: What the networks are.
        weights: By block that has weights, [B · cells, targets, sources, \\*kernel].
        biases: By group but the input, [B, n].

    Returns:
        The changes; 0 for what is constant or stands for no node or edge. A parameter that several operations read gets
        the mean of what each of them says.
    """
    structure = graph_structure(graph)
    found: dict[str, list[Tensor]] = {}
    size = len(biases[0])
    written = iter(weights)
    for block, edge in zip(structure.blocks, structure.edge_parameters, strict=True):
        if block.is_written and edge is not None and edge.weight is not None:
            change, shape = next(written), graph.shapes[edge.weight]
            if edge.axis is None:
                change = change.reshape(size, *shape)
            else:
                change = change.reshape(size, -1)
                change = change.mean(1, keepdim=True) if edge.is_shared else change
                change = _spread_over(change, edge.axis, shape)
            found.setdefault(edge.weight, []).append(change)
    for index, node in enumerate(structure.node_parameters):
        if node is not None and node.bias is not None and structure.is_written(index):
            change = biases[index - 1][:, node.nodes.to(biases[0].device)]
            found.setdefault(node.bias, []).append(_spread_over(change, node.axis, graph.shapes[node.bias]))
    changes = {}
    for parameter in graph.parameters:
        own = found.get(parameter.name)
        if own is None or parameter.is_constant:
            changes[parameter.name] = biases[0].new_zeros(size, *parameter.shape)
        else:
            changes[parameter.name] = own[0] if len(own) == 1 else torch.stack(own).mean(0)
    return Networks(graph, changes)


def _edge_numbers(networks: Networks, block: StructureBlock, parameter: EdgeParameter) -> Tensor:
    shape = (len(networks) * block.cells, block.num_targets, block.num_sources, *block.kernel)
    if parameter.axis is None and parameter.weight is not None:
        return networks.parameters[parameter.weight].reshape(shape)
    factors = _factors(networks, parameter)
    return factors.expand(-1, block.cells).reshape(shape)


def _factors(networks: Networks, parameter: EdgeParameter) -> Tensor:
    """What a diagonal block multiplies with, [B, edges], or [B, 1] where that is the same for all."""
    like = next(iter(networks.parameters.values()))
    factors = like.new_ones(len(networks), 1)
    if parameter.weight is not None and parameter.axis is not None:
        factors = _along(networks.parameters[parameter.weight], parameter.axis)
    if parameter.variance is not None:
        factors = factors * torch.rsqrt(networks.parameters[parameter.variance] + parameter.eps)
    return factors


def _node_numbers(networks: Networks, size: int, parameter: NodeParameter) -> Tensor:
    entries: Tensor | None = None
    if parameter.bias is not None:
        entries = _along(networks.parameters[parameter.bias], parameter.axis)
    if parameter.mean is not None and parameter.scale is not None:
        shift = networks.parameters[parameter.mean] * _factors(networks, parameter.scale)
        entries = -shift if entries is None else entries - shift
    assert entries is not None
    if entries.shape[1] == size:
        return entries
    nodes = parameter.nodes.to(entries.device)
    totals = entries.new_zeros(len(entries), size).index_add(1, nodes, entries)
    return totals / torch.bincount(nodes, minlength=size)


def _along(tensor: Tensor, axis: int) -> Tensor:
    """[B, *shape] as [B, entries] along an axis of ``shape``, the mean over the others."""
    if tensor.ndim == 1:
        return tensor.unsqueeze(1)
    return tensor if tensor.ndim == 2 else tensor.movedim(axis + 1, 1).flatten(2).mean(2)


def _spread_over(change: Tensor, axis: int, shape: tuple[int, ...]) -> Tensor:
    """[B, entries] along an axis of ``shape`` as [B, *shape], the same along the others."""
    view = [1] * len(shape)
    if shape:
        view[axis] = shape[axis]
    return change.reshape(len(change), *view).expand(len(change), *shape)
