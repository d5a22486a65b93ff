"""Plain chains among the graphs: the layers of one, and the operations that layers stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoovet.errors import ZoovetError
from zoovet.networks.chain import Chain
from zoovet.networks.layer_spec import ACTIVATIONS, LayerSpec, PoolSpec
from zoovet.networks.operations import INPUT, Operation, Parameter

if TYPE_CHECKING:
    from zoovet.networks.graph import Graph

__all__ = ["ChainParts", "chain_of", "chain_parts"]


@dataclass(frozen=True)
class ChainParts:
    """What layers are as parts of a graph."""

    parameters: tuple[Parameter, ...]
    operations: tuple[Operation, ...]
    chain: Chain


def chain_parts(input_shape: tuple[int, ...], layers: tuple[LayerSpec, ...]) -> ChainParts:
    """The parameters and operations that compute what layers describe.

    Returns:
        The parameters are ``layers.0.weight``, ``layers.0.bias``, …; a linear layer's weight is
        [out, channels · height · width]. Layer k makes the sites ``layers.k``, ``layers.k.relu``, ``layers.k.pool`` and
        so on.

    Raises:
        ZoovetError: Layers do not fit one another or the input.
    """
    chain = _named(input_shape, layers)
    parameters: list[Parameter] = []
    operations: list[Operation] = []
    sites = []
    site = INPUT
    for index, layer in enumerate(layers):
        name = f"layers.{index}"
        if layer.kind == "linear" and chain.map_sizes[index] is not None:
            operations.append(Operation(op="flatten", inputs=(site,), output=f"{name}.flatten"))
            site = f"{name}.flatten"
        roles = {"weight": f"{name}.weight", "bias": f"{name}.bias"}
        parameters.append(Parameter(name=roles["weight"], shape=_weight_shape(layer)))
        parameters.append(Parameter(name=roles["bias"], shape=(layer.out_channels,)))
        operations.append(
            Operation(op=_op(layer), inputs=(site,), output=name, parameters=roles, attributes=_attributes(layer))
        )
        site = name
        for suffix, op, attributes in (*_activation(layer), *_pooling(layer.pool)):
            operations.append(Operation(op=op, inputs=(site,), output=f"{name}.{suffix}", attributes=attributes))
            site = f"{name}.{suffix}"
        sites.append(site)
    return ChainParts(tuple(parameters), tuple(operations), replace(chain, sites=tuple(sites)))


def _named(input_shape: tuple[int, ...], layers: tuple[LayerSpec, ...]) -> Chain:
    """The chain but for its sites."""
    names = [f"layers.{index}" for index in range(len(layers))]
    return Chain(
        input_shape=input_shape,
        layers=layers,
        weights=tuple(f"{name}.weight" for name in names),
        biases=tuple(f"{name}.bias" for name in names),
        sites=(),
    )


def chain_of(graph: Graph) -> Chain | None:
    """A graph's layers, names aside exactly what :func:`chain_parts` makes of them; ``None`` where it is no chain."""
    try:
        layers = _Reader(graph).layers()
        if not layers:
            return None
        parts = chain_parts(graph.input_shape, tuple(layers))
    except ZoovetError:  # windows or sizes that a graph may have and a chain has not
        return None
    if len(parts.operations) != len(graph.operations) or len(parts.parameters) != len(graph.parameters):
        return None
    own = {INPUT: INPUT}
    for step, operation in zip(parts.operations, graph.operations, strict=True):
        own[step.output] = operation.output
    names = {ours.name: theirs.name for ours, theirs in zip(parts.parameters, graph.parameters, strict=True)}
    if graph.output != own[parts.chain.sites[-1]]:
        return None
    for ours, theirs in zip(parts.parameters, graph.parameters, strict=True):
        if replace(ours, name=theirs.name) != theirs:
            return None
    for step, operation in zip(parts.operations, graph.operations, strict=True):
        renamed = replace(
            step,
            inputs=tuple(own[name] for name in step.inputs),
            output=own[step.output],
            parameters={role: names[name] for role, name in step.parameters.items()},
        )
        if renamed != operation:
            return None
    return replace(
        parts.chain,
        weights=tuple(names[name] for name in parts.chain.weights),
        biases=tuple(names[name] for name in parts.chain.biases),
        sites=tuple(own[name] for name in parts.chain.sites),
    )


class _Reader:
    """Takes operations for layers as they come; whether nothing else is there, :func:`chain_of` finds out."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._layers: list[LayerSpec] = []

    def layers(self) -> list[LayerSpec]:
        """The layers; none where an operation is of no kind that a chain has, or stands where a chain has none."""
        kernel: tuple[int, ...] = ()
        for operation in self._graph.operations:
            if operation.op == "flatten":
                kernel = self._graph.sites[operation.inputs[0]].shape[1:]
            elif operation.op in ("conv2d", "linear"):
                self._layers.append(self._layer(operation, kernel))
                kernel = ()
            elif not self._layers or not self._follows(operation):
                return []
        return self._layers

    def _layer(self, operation: Operation, kernel: tuple[int, ...]) -> LayerSpec:
        shape = self._graph.shapes[operation.parameters["weight"]]
        if operation.op == "linear":
            channels = self._layers[-1].out_channels if self._layers else self._graph.input_shape[0]
            return LayerSpec(
                kind="linear", in_channels=channels if kernel else shape[1], out_channels=shape[0], kernel=kernel
            )
        attributes = operation.attributes
        return LayerSpec(
            kind="conv",
            in_channels=shape[1],
            out_channels=shape[0],
            kernel=shape[2:],
            stride=attributes["stride"],
            padding=attributes["padding"][:2],
            dilation=attributes["dilation"],
        )

    def _follows(self, operation: Operation) -> bool:
        """Take an operation as the last layer's activation or pooling; whether it may be one."""
        last = self._layers[-1]
        name = {"sin": "sine"}.get(operation.op, operation.op)
        if name in ACTIVATIONS and last.pool is None and last.activation == "identity":
            parameter = operation.attributes.get("frequency", operation.attributes.get("negative_slope"))
            self._layers[-1] = replace(last, activation=name, activation_parameter=parameter)
            return True
        if last.kind != "conv" or last.pool is not None:
            return False
        if operation.op == "mean":
            self._layers[-1] = replace(last, pool=PoolSpec(kind="global"))
            return True
        if operation.op not in ("avg_pool2d", "max_pool2d"):
            return False
        attributes = operation.attributes
        self._layers[-1] = replace(
            last,
            pool=PoolSpec(
                kind="average" if operation.op == "avg_pool2d" else "max",
                kernel=attributes["kernel_size"],
                stride=attributes["stride"],
                padding=attributes["padding"][:2],
            ),
        )
        return True


def _op(layer: LayerSpec) -> str:
    return "conv2d" if layer.kind == "conv" else "linear"


def _weight_shape(layer: LayerSpec) -> tuple[int, ...]:
    if layer.kind == "conv":
        return layer.weight_shape
    return (layer.out_channels, layer.in_channels * layer.kernel_size)


def _attributes(layer: LayerSpec) -> dict[str, Any]:
    if layer.kind == "linear":
        return {}
    return {"stride": layer.stride, "padding": (*layer.padding, *layer.padding), "dilation": layer.dilation}


def _activation(layer: LayerSpec) -> list[tuple[str, str, dict[str, Any]]]:
    """Suffix of the site, operation and attributes of a layer's activation, where it has one."""
    if layer.activation == "identity":
        return []
    if layer.activation == "sine":
        return [("sine", "sin", {"frequency": layer.activation_parameter})]
    attributes = {"negative_slope": layer.activation_parameter} if layer.activation == "leaky_relu" else {}
    return [(layer.activation, layer.activation, attributes)]


def _pooling(pool: PoolSpec | None) -> list[tuple[str, str, dict[str, Any]]]:
    if pool is None:
        return []
    if pool.kind == "global":
        return [("mean", "mean", {"dim": (1, 2)})]
    attributes = {"kernel_size": pool.kernel, "stride": pool.stride, "padding": (*pool.padding, *pool.padding)}
    return [("pool", "avg_pool2d" if pool.kind == "average" else "max_pool2d", attributes)]
