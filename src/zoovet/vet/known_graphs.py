"""Is a network's graph one that a detector or repairer knows? Told by what it computes, whatever it was read from.

A module of a class of its own, an ONNX file and a state dict give graphs that are written in several ways: a mean over
an axis or an adaptive pooling, a bias or none. So the layers' weights are taken in the order in which they run, and the
two are compared: activations by name, all else by running both on drawn images in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoovet.networks import Graph, Networks, Operation, Parameter, run
from zoovet.networks.ops.elementwise import ELEMENTWISE
from zoovet.vet.network import Network

__all__ = ["KnownNetwork", "as_known"]

_LAYERS = ("conv2d", "linear")
_SOFTMAX = ("softmax", "log_softmax")
_NOT_ACTIVATIONS = ("add", "sub", "mul", "div")
_ACTIVATIONS = frozenset(kind.name for kind in ELEMENTWISE) - frozenset(_NOT_ACTIVATIONS)
"""Operations that a network of a graph has in the same number and order, however it is written."""

_NUM_TRIED, _TOLERANCE = 8, 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownNetwork:
    """A network as one of a graph.

    Attributes:
        networks: The same weights as a network of the graph (B = 1), with the network's input scaling.
        original: What it was before.
        layers: The layers of its graph, in the order in which they run.
    """

    networks: Networks
    original: Network
    layers: tuple[Operation, ...]

    def with_weights(self, edited: Networks) -> Networks:
        """The original's graph with other weights.

        A layer without a bias gets one where it has one now; layers that shared a parameter get one each.

        Args:
            edited: Of the graph (B = 1).
        """
        if not edited.graph.is_chain:
            whole = _whole(self.original)
            return Networks(whole.graph, {own: edited.parameters[name] for own, name in _paired(whole, edited.graph)})
        own = self.original.networks
        assert own is not None
        tensors, changed, given = dict(own.parameters), dict[str, Operation](), set[str]()
        for layer, weight, bias in zip(self.layers, edited.weights, edited.biases, strict=True):
            roles = dict(layer.parameters)
            like = tensors[roles["weight"]]
            for role, new in (("weight", weight.reshape(like.shape)), ("bias", bias)):
                if role not in roles and not bool(new.any()):
                    continue
                if role not in roles or roles[role] in given:
                    roles[role] = _new_name(f"{layer.output}.{role}", tensors)
                tensors[roles[role]] = new.to(like)
                given.add(roles[role])
            if roles != dict(layer.parameters):
                changed[layer.output] = replace(layer, parameters=roles)
        return Networks(_with_layers(own.graph, changed, tensors), tensors)


def as_known(network: Network, graphs: Sequence[Graph]) -> KnownNetwork | None:
    """The network with its weights in the order of one of the graphs; ``None`` where it is a network of none of them.

    Args:
        network: Any; one that can only be run has no graph.
        graphs: Each once.
    """
    own = network.networks
    if own is None or len(own) != 1:
        return None
    layers = tuple(one for one in own.graph.operations if one.op in _LAYERS)
    answers: Tensor | None = None
    images = torch.randn(
        _NUM_TRIED, *network.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    for graph in graphs:
        read = _read_as(own, layers, graph) if graph.is_chain else _read_whole_as(_whole(network), graph)
        if read is None or _activations(graph) != _activations(own.graph):
            continue
        answers = _before_softmax(own, images) if answers is None else answers
        if _alike(answers, run(read.to(dtype=torch.float64), images)[0]):
            scaling = network.scaling if len(graph.input_shape) == 3 else None
            return KnownNetwork(networks=read.with_scaling(scaling), original=network, layers=layers)
    return None


def _read_as(own: Networks, layers: Sequence[Operation], graph: Graph) -> Networks | None:
    """The layers' weights in the shapes of a graph, where their sizes allow it."""
    if graph.input_shape != own.graph.input_shape or len(layers) != len(graph.chain.layers):
        return None
    weights, biases = [], []
    for layer, shape, of_graph in zip(layers, graph.chain.weight_shapes, graph.chain.layers, strict=True):
        weight = own.parameters[layer.parameters["weight"]]
        if weight.shape[1] != shape[0] or weight[0].numel() != torch.Size(shape).numel():
            return None
        weights.append(weight.reshape(1, *shape))
        bias = layer.parameters.get("bias")
        biases.append(weight.new_zeros(1, of_graph.out_channels) if bias is None else own.parameters[bias])
    return Networks.from_layers(graph.architecture, weights, biases)


def _whole(network: Network) -> Networks:
    """The network with its batch norms."""
    whole = network.networks if network.unfolded is None else network.unfolded
    assert whole is not None
    return whole


def _paired(whole: Networks, graph: Graph) -> list[tuple[str, str]]:
    """Names of a network's parameters and of a graph's: the same, or else in their order; none where shapes differ."""
    own, wanted = dict(whole.graph.shapes), dict(graph.shapes)
    if own == wanted:
        return [(name, name) for name in own]
    return list(zip(own, wanted, strict=True)) if list(own.values()) == list(wanted.values()) else []


def _read_whole_as(whole: Networks, graph: Graph) -> Networks | None:
    """The parameters as those of a graph that is no chain, where their shapes are its."""
    pairs = _paired(whole, graph)
    if not pairs or graph.input_shape != whole.graph.input_shape:
        return None
    return Networks(graph.architecture, {name: whole.parameters[own] for own, name in pairs})


def _activations(graph: Graph) -> list[tuple[str, object]]:
    return [(one.op, one.attributes) for one in graph.operations if one.op in _ACTIVATIONS]


def _before_softmax(own: Networks, images: Tensor) -> Tensor:
    """What the network answers [N, classes], before the softmax that it may end with."""
    graph = own.graph
    last = graph.makers[graph.output]
    if last.op in _SOFTMAX:
        graph = replace(graph, output=last.inputs[0], operations=tuple(o for o in graph.operations if o is not last))
        own = Networks(graph, own.parameters)
    return run(own.to(dtype=torch.float64), images)[0]


def _alike(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or not bool(first.isfinite().all()):
        return False
    return bool(((first - second).abs().max() <= _TOLERANCE * first.abs().max().clamp(min=1e-30)).item())


def _with_layers(graph: Graph, changed: dict[str, Operation], tensors: dict[str, Tensor]) -> Graph:
    if not changed:
        return graph
    operations = tuple(changed.get(one.output, one) for one in graph.operations)
    known = {one.name: one for one in graph.parameters}
    return replace(
        graph,
        operations=operations,
        parameters=tuple(
            known.get(name, Parameter(name=name, shape=tuple(tensor.shape[1:]))) for name, tensor in tensors.items()
        ),
    )


def _new_name(name: str, taken: dict[str, Tensor]) -> str:
    while name in taken:
        name += "_"
    return name
