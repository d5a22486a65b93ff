"""From named tensors to a network of a graph: everything in a state dict has a place, or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.printable import printable
from zoovet.readers.batch_norms import fold_batch_norms
from zoovet.readers.content import FileContent
from zoovet.readers.given_order import in_given_order
from zoovet.readers.layer_order import LayerOrderError, fits, layers_in_order, weight_shapes
from zoovet.readers.named_layers import NamedLayer, contents_in_words, name_layers
from zoovet.readers.parts import NothingFits, fitting_part, part_name, plain_parts
from zoovet.readers.tensors import shape_in_words, usable

__all__ = ["GraphMisfitError", "Reading", "networks_from_state_dict", "read_state_dicts"]


class GraphMisfitError(ZoovetError):
    """A file holds other layers than a graph has; nothing else is known to be wrong with it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """Networks of a file, and what whoever uses them should be told.

    Attributes:
        networks: float64 where the file is, else float32; on the CPU. Their graph has the input scaling that the file
            says, or none.
        notes: What was assumed, taken or left out, one line each, without the file's name.
    """

    networks: Networks
    notes: tuple[str, ...] = ()


def read_state_dicts(content: FileContent, graph: Graph, source: str, *, order: Sequence[str] | None = None) -> Reading:
    """The network of a graph among a file's state dicts.

    Where there are several, it is the one that fits the graph; plain weights come before averages of them. Two that fit
    and differ are refused. Where none fits alone, all plain ones together are tried (``encoder`` and ``head``).

    Args:
        content: What the file holds.
        graph: What the network is.
        source: The file, for messages.
        order: Names of the layers as they run; ``None`` where names and shapes tell.

    Raises:
        ZoovetError: As :func:`networks_from_state_dict`, or several networks fit.
    """

    def read(tensors: Mapping[str, Tensor]) -> Reading:
        return networks_from_state_dict(tensors, graph, source, ordered=content.ordered, order=order)

    def are_same(one: Reading, other: Reading) -> bool:
        return torch.equal(one.networks.flat(), other.networks.flat())

    try:
        reading, notes = fitting_part(content, source, read, are_same)
    except NothingFits as error:
        if not content.parts:
            raise error.refusals[0] from None
        reading, notes = _together(content, read, error.refusals)
    return replace(reading, notes=(*notes, *content.notes, *reading.notes))


def _together(
    content: FileContent, read: Callable[[Mapping[str, Tensor]], Reading], refusals: Sequence[ZoovetError]
) -> tuple[Reading, tuple[str, ...]]:
    """All plain state dicts as one network, and a note that says so."""
    plain = plain_parts(content)
    try:
        reading = read({name: one for name, one in content.tensors.items() if name.startswith(tuple(plain))})
    except ZoovetError as error:
        raise _weightiest(refusals, error) from error
    return reading, (f"read as one network: {' and '.join(map(part_name, plain))}",)


def networks_from_state_dict(
    state_dict: Mapping[str, Tensor],
    graph: Graph,
    source: str,
    *,
    ordered: bool = True,
    order: Sequence[str] | None = None,
) -> Reading:
    """One network from the tensors of somebody's module.

    A weight and a bias belong together where their names agree but for these two words; a weight without a bias has the
    bias 0. Pruning masks, weight norm, spectral norm and batch norms are folded. A linear layer that reads a flattened
    map may come as [out, channels · height · width], a 1×1 convolution as a linear layer and the other way round.
    :mod:`~zoovet.readers.layer_order` says which layer is which.

    Args:
        state_dict: Named tensors, as ``module.state_dict()`` gives them.
        graph: What the network is.
        source: Their file, for messages.
        ordered: Whether they are in the order of registration; safetensors files are sorted by name.
        order: Names of the layers as they run; ``None`` where names and shapes tell.

    Raises:
        GraphMisfitError: The layers do not fit the graph.
        LayerOrderError: They fit in several orders, and nothing says in which they run.
        ZoovetError: A tensor has no place in the graph, or is not of real numbers, all finite.
    """
    named = name_layers(state_dict, source, ordered=ordered)
    layers: tuple[NamedLayer, ...] | None = named.layers
    follows: dict[str, str] = {}
    if len(named.layers) != len(graph.chain.layers):
        raise GraphMisfitError(
            f"{source} does not fit the graph: it holds {contents_in_words(state_dict)}, the graph is "
            f"{graph.describe()}"
        )
    if order is not None:
        layers, follows = in_given_order(named, order, source)
        if not all(map(fits, graph.chain.layers, layers)):
            layers = None
    else:
        layers = layers_in_order(named.layers, graph, source, ordered=named.ordered)
    if layers is None:
        raise _misfit(named.layers, graph, source)
    if named.obstacles:
        raise ZoovetError(f"{source}: {named.obstacles[0]}")
    layers, notes = fold_batch_norms(layers, named.norms, source, ordered=named.ordered, given=follows)
    if named.scaling is not None and named.scaling.num_channels not in (None, graph.input_shape[0]):
        raise GraphMisfitError(
            f"{source} does not fit the graph: its input scaling is for {named.scaling.num_channels} channels, images "
            f"have {graph.input_shape[0]}"
        )
    graph = replace(graph, input_scaling=named.scaling)
    return Reading(networks=_networks(layers, graph, source), notes=named.notes + notes)


def _networks(layers: Sequence[NamedLayer], graph: Graph, source: str) -> Networks:
    tensors = {f"{layer.name}.weight": layer.weight for layer in layers}
    tensors |= {f"{layer.name}.bias": layer.bias for layer in layers if layer.bias is not None}
    numbers = usable(tensors, source)
    weights, biases = [], []
    for of_graph, layer in zip(graph.chain.layers, layers, strict=True):
        weights.append(numbers[f"{layer.name}.weight"].reshape(1, *of_graph.weight_shape))
        bias = numbers.get(f"{layer.name}.bias", weights[-1].new_zeros(of_graph.out_channels))
        biases.append(bias.unsqueeze(0))
    return Networks.from_layers(graph, tuple(weights), tuple(biases))


def _weightiest(refusals: Sequence[ZoovetError], of_all: ZoovetError) -> ZoovetError:
    """The error that says most: an open order, then whatever else is wrong besides layers that do not fit."""
    for kind in (LayerOrderError, ZoovetError):
        for error in refusals:
            if isinstance(error, kind) and not isinstance(error, GraphMisfitError):
                return error
    return of_all


def _misfit(layers: Sequence[NamedLayer], graph: Graph, source: str) -> GraphMisfitError:
    """Names the first of the graph's layers that nothing fits, and a layer of the file that fits nothing."""
    lonely = (i for i, of_graph in enumerate(graph.chain.layers) if not any(fits(of_graph, layer) for layer in layers))
    index = next(lonely, 0)
    of_graph = graph.chain.layers[index]
    unfit = [layer for layer in layers if not any(fits(some, layer) for some in graph.chain.layers)] or [layers[index]]
    found = unfit[0]
    wanted = " or ".join(map(shape_in_words, sorted(weight_shapes(of_graph), key=len)))
    bias = "" if found.bias is None else f" and its bias {shape_in_words(found.bias.shape)}"
    turned = tuple(found.weight.shape[1::-1]) in weight_shapes(of_graph) and found.weight.dim() == 2
    hint = "; transposed it would, which is not guessed" if turned else ""
    return GraphMisfitError(
        f"{source} does not fit the graph: layer {index} ({of_graph.kind}) must have a weight of {wanted} and a bias "
        f"of {of_graph.out_channels}, '{printable(found.name, 40)}' is {shape_in_words(found.weight.shape)}{bias}{hint}"
    )
