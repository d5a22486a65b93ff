"""Plain chains as graphs: a spec's layers one after another, and their weights both ways."""

from __future__ import annotations

from typing import Any

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import INPUT, Graph, Operation, Parameter
from zoovet.networks.graph_batch import GraphNetworks
from zoovet.networks.spec import LayerSpec, NetworkSpec, PoolSpec

__all__ = ["chain_from_graph", "graph_from_chain", "graph_from_spec"]


def graph_from_spec(spec: NetworkSpec) -> Graph:
    """The graph that computes what a spec describes.

    Returns:
        Its parameters are ``layers.0.weight``, ``layers.0.bias``, …, in the order of :meth:`Networks.flat`; a linear
        layer's weight is [out, channels · height · width]. Layer k makes the sites ``layers.k``, ``layers.k.relu``,
        ``layers.k.pool`` and so on. An input map becomes a ``channel_affine`` of two constants.
    """
    parameters: list[Parameter] = []
    operations: list[Operation] = []
    site = INPUT
    if spec.input_map:
        roles = {"weight": "input_map.weight", "bias": "input_map.bias"}
        shape = (spec.input_shape[0],)
        parameters += [Parameter(name=name, shape=shape, is_constant=True) for name in roles.values()]
        operations.append(Operation(op="channel_affine", inputs=(INPUT,), output="input_map", parameters=roles))
        site = "input_map"
    for index, layer in enumerate(spec.layers):
        name = f"layers.{index}"
        if layer.kind == "linear" and spec.map_sizes[index] is not None:
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
    return Graph(
        input_shape=spec.input_shape,
        parameters=tuple(parameters),
        operations=tuple(operations),
        output=site,
        input_scaling=spec.input_scaling,
    )


def graph_from_chain(networks: Networks) -> GraphNetworks:
    """B networks of a spec as networks of its graph; their weights are views of the same numbers."""
    graph = graph_from_spec(networks.spec)
    tensors = [tensor for pair in zip(networks.weights, networks.biases, strict=True) for tensor in pair]
    if networks.spec.input_map:
        maps = networks.weights[0].new_tensor(networks.spec.input_map)  # [channels, factor and offset]
        tensors = [*(column.expand(len(networks), -1) for column in maps.unbind(1)), *tensors]
    return GraphNetworks(
        graph,
        {
            name: tensor.reshape(len(networks), *shape)
            for (name, shape), tensor in zip(graph.shapes.items(), tensors, strict=True)
        },
    )


def chain_from_graph(networks: GraphNetworks, spec: NetworkSpec) -> Networks:
    """The way back of :func:`graph_from_chain`.

    Raises:
        ZoovetError: The networks' graph is not the spec's.
    """
    if networks.graph != graph_from_spec(spec):
        raise ZoovetError(
            f"networks of the graph {networks.graph.graph_id} are none of {spec.describe()}; only graphs made by "
            "graph_from_spec are read back"
        )
    tensors = list(networks.parameters.values())[2 if spec.input_map else 0 :]
    weights = (
        tensor.reshape(len(networks), *shape) for tensor, shape in zip(tensors[::2], spec.weight_shapes, strict=True)
    )
    return Networks(spec, tuple(weights), tuple(tensors[1::2]))


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
