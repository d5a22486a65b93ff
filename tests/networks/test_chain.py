from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import (
    Block,
    Graph,
    Group,
    InputScaling,
    LayerSpec,
    Networks,
    PoolSpec,
    mlp,
    scaling_preset,
    siren,
    small_cnn,
    to_module,
)


def conv(channels: tuple[int, int] = (1, 4), **options: Any) -> LayerSpec:
    return LayerSpec(kind="conv", in_channels=channels[0], out_channels=channels[1], **{"kernel": (3, 3), **options})


def linear(channels: tuple[int, int] = (4, 3), **options: Any) -> LayerSpec:
    return LayerSpec(kind="linear", in_channels=channels[0], out_channels=channels[1], **options)


def network(*layers: LayerSpec, input_shape: tuple[int, ...] = (1, 6, 6)) -> Graph:
    return Graph.of_layers(input_shape=input_shape, layers=layers)


def test_the_published_small_cnn() -> None:
    graph = small_cnn()
    assert graph.num_parameters == 4970
    assert graph.chain.map_sizes == ((28, 28), (14, 14), (7, 7), None, None)
    assert graph.chain.unpooled_sizes == ((14, 14), (7, 7), (4, 4), None)
    assert graph.chain.weight_shapes == ((16, 1, 3, 3), (16, 16, 3, 3), (16, 16, 3, 3), (10, 16))
    assert graph.chain.bias_shapes == ((16,), (16,), (16,), (10,))
    assert graph.num_outputs == 10
    assert graph.describe() == (
        "1×28×28 → conv 16 3×3 /2 relu → conv 16 3×3 /2 relu → conv 16 3×3 /2 relu global-pool → linear 10"
    )


def test_groups_and_blocks() -> None:
    graph = network(conv(activation="tanh", pool=PoolSpec(kind="global")), linear((4, 3)))
    assert graph.chain.groups == (
        Group(1, "input", 0),
        Group(4, "hidden", 1),
        Group(3, "output", 2),
    )
    assert graph.chain.blocks == (Block(0, 1, 0), Block(1, 2, 1))


def test_mlps_and_sirens() -> None:
    assert mlp((4, 3, 2), "tanh").chain.activation == "tanh"
    assert [layer.activation for layer in mlp((4, 3, 2)).chain.layers] == ["relu", "identity"]
    graph = siren()
    assert graph.chain.weight_shapes == ((32, 2), (32, 32), (1, 32))
    assert [layer.activation_parameter for layer in graph.chain.layers] == [30.0, 30.0, None]


def test_the_activation_of_the_hidden_layers() -> None:
    assert mlp((4, 3)).chain.activation == "identity"
    with pytest.raises(ZoovetError, match="several activations: relu, tanh"):
        _ = network(
            linear((2, 3), activation="relu"), linear((3, 3), activation="tanh"), linear((3, 1)), input_shape=(2,)
        ).chain.activation


@pytest.mark.parametrize("seed", range(40))
def test_sizes_are_those_of_modules(
    seed: int, spec_of_seed: Callable[[int], Graph], networks_of: Callable[..., Networks]
) -> None:
    graph = spec_of_seed(seed)
    networks = networks_of(graph, 1, dtype=torch.float32)
    for num_layers in range(1, len(graph.chain.layers) + 1):
        part = graph.with_layers(graph.chain.layers[:num_layers])
        module = to_module(Networks.from_layers(part, networks.weights[:num_layers], networks.biases[:num_layers]))
        size = graph.chain.map_sizes[num_layers]
        expected = (2, graph.chain.layers[num_layers - 1].out_channels, *(size or ()))
        assert tuple(module(torch.zeros(2, *graph.input_shape)).shape) == expected


@pytest.mark.parametrize("seed", range(40))
def test_json_both_ways(seed: int, spec_of_seed: Callable[[int], Graph]) -> None:
    graph = spec_of_seed(seed)
    again = Graph.from_json(json.loads(json.dumps(graph.to_json())))
    assert again == graph
    assert hash(again) == hash(graph)
    assert again.graph_id == graph.graph_id


def test_the_identifier_stays_what_it_was() -> None:
    assert small_cnn().graph_id == "45ded1fadf80"
    assert len({small_cnn().graph_id, small_cnn("tanh").graph_id, siren().graph_id, siren(w0=10.0).graph_id}) == 4


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        small_cnn().input_shape = (3, 28, 28)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(linear(), kind="linaer"), r"layer kind 'linaer' is unknown; did you mean 'linear'\?"),
        (lambda: linear(activation="rely"), r"activation 'rely' is unknown; did you mean 'relu'\?"),
        (lambda: linear((0, 3)), "at least one channel in and out, got 0 and 3"),
        (lambda: linear(activation="relu", activation_parameter=0.1), "'relu' takes no parameter, got 0.1"),
        (lambda: conv(kernel=()), r"needs a kernel \(height, width\), got \(\)"),
        (lambda: conv(kernel=(3, 0)), r"kernel must be \(\) or .* of at least 1, got \(3, 0\)"),
        (lambda: linear(kernel=(3,)), r"kernel must be \(\) or .*, got \(3,\)"),
        (lambda: conv(stride=(0, 1)), r"stride and dilation must be at least 1 .*, got stride \(0, 1\)"),
        (lambda: conv(padding=(-1, 0)), r"padding \(-1, 0\)"),
        (lambda: linear(stride=(2, 2)), "stride, padding and dilation are for conv layers"),
        (lambda: linear(pool=PoolSpec(kind="global")), "pooling after a linear layer is not possible"),
        (lambda: PoolSpec(kind="maximum"), "pooling kind 'maximum' is unknown"),
        (lambda: PoolSpec(kind="max"), r"max pooling needs kernel and stride of at least 1 .* got kernel \(0, 0\)"),
        (
            lambda: PoolSpec(kind="average", kernel=(2, 3), stride=(1, 1), padding=(1, 2)),
            r"padding must be at most half its kernel, got \(1, 2\) for \(2, 3\)",
        ),
        (lambda: network(linear(), input_shape=(4, 4)), r"input_shape must be \(channels, height, width\) or \(feat"),
        (lambda: network(linear(), input_shape=(0,)), r"got \(0,\)$"),
        (lambda: network(), "a network needs at least one layer"),
        (lambda: network(conv(), conv((3, 2))), r"layer 1 \(conv\) reads 3 channels, but 4 come in"),
        (lambda: network(conv(), linear()), r"layer 1 \(linear\) is declared to read no map, but .* is \(4, 4\)"),
        (lambda: network(conv(), linear(kernel=(2, 2))), r"declared to read \(2, 2\), but what comes in is \(4, 4\)"),
        (lambda: network(conv(), input_shape=(1,)), "layer 0 is a conv layer, but .* no height and width"),
        (lambda: network(conv(dilation=(3, 1))), r"layer 0 \(conv\): its 7×3 window does not fit a map of 6×6"),
        (
            lambda: network(conv(pool=PoolSpec(kind="max", kernel=(5, 1), stride=(1, 1)))),
            r"layer 0's pooling: its 5×1 window does not fit a map of 4×4",
        ),
    ],
)  # fmt: skip
def test_what_is_no_network_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: [], "a graph must be a JSON object, got \\[\\]"),
        (lambda data: {**data, "layer": []}, r"unknown key 'layer'; did you mean 'layers'\?"),
        (lambda data: {"layers": data["layers"]}, "a chain lacks the key 'input_shape'"),
        (lambda data: {**data, "layers": {}}, "'layers' must be a list, got an object"),
        (lambda data: {**data, "input_shape": [1, 28.0, 28]}, r"must be a list of integers, got \[1, 28\.0, 28\]"),
        (lambda data: {**data, "input_shape": [1, 28]}, r"input_shape must hold 1 or 3 integers, got \[1, 28\]"),
        (lambda data: {**data, "layers": [3]}, r"layers\[0\] must be a JSON object, got 3"),
    ],
)  # fmt: skip
def test_json_that_is_no_spec(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        Graph.from_json(change(small_cnn().to_json()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"knid": "conv"}, r"layers\[2\] has the unknown key 'knid'; did you mean 'kind'\?"),
        ({"kind": 5}, "layer kind 5 is unknown"),
        ({"in_channels": True}, r"layers\[2\]\.in_channels must be an integer, got true"),
        ({"kernel": [3]}, r"layers\[2\]\.kernel must hold 0 or 2 integers, got \[3\]"),
        ({"stride": 2}, r"layers\[2\]\.stride must be a list of integers, got 2"),
        ({"activation": ["relu"]}, r"activation \[.relu.\] is unknown"),
        ({"activation": "sine", "activation_parameter": "30"}, "must be a finite number, got '30'"),
        ({"activation": "sine", "activation_parameter": float("nan")}, r"activation_parameter must be .*, got nan"),
        ({"pool": "max"}, r"layers\[2\]\.pool must be a JSON object, got 'max'"),
        ({"pool": {"kernel": [2, 2]}}, r"layers\[2\]\.pool lacks the key 'kind'"),
        ({"pool": {"kind": "max", "kernel": [2, 2, 2]}}, r"layers\[2\]\.pool\.kernel must hold 2 integers"),
    ],
)  # fmt: skip
def test_json_that_is_no_layer(change: dict[str, Any], message: str) -> None:
    data = small_cnn().to_json()
    data["layers"][2] |= change
    with pytest.raises(ZoovetError, match=message):
        Graph.from_json(data)


def test_json_that_lacks_a_key() -> None:
    data = small_cnn().to_json()
    del data["layers"][0]["kind"]
    with pytest.raises(ZoovetError, match=r"layers\[0\] lacks the key 'kind'"):
        Graph.from_json(data)


def test_input_scaling_and_map_go_through_json() -> None:
    plain, graph = small_cnn(), replace(small_cnn(), input_scaling=scaling_preset("unit"))
    again = Graph.from_json(json.loads(json.dumps(graph.to_json())))
    assert again.input_scaling == scaling_preset("unit")
    mapped = replace(graph, input_map=((0.5, -1.0),))
    assert Graph.from_json(json.loads(json.dumps(mapped.to_json()))) == mapped
    assert set(plain.to_json()) == {"input_shape", "layers"}  # as before scalings were known


def test_specs_are_equal_where_architectures_are() -> None:
    plain, graph = small_cnn(), replace(small_cnn(), input_scaling=scaling_preset("unit"))
    assert plain == graph == graph.architecture
    assert hash(plain) == hash(graph)
    assert plain.graph_id == graph.graph_id
    mapped = replace(graph, input_map=((0.5, -1.0),))  # which computes something else
    assert mapped != graph
    assert mapped.graph_id != graph.graph_id
    assert mapped.architecture == plain
    assert mapped.architecture.input_scaling is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_scaling": "unit"}, "an input scaling must be a JSON object, got 'unit'"),
        ({"input_scaling": InputScaling(mean=(0.1, 0.2)).to_json()}, "is for 2 channels, but images have 1"),
        ({"input_map": "1"}, "'input_map' must be a list of pairs"),
        ({"input_map": [[1, 2, 3]]}, "'input_map' must be a list of pairs"),
        ({"input_map": [[1, 2], [1, 2]]}, "input_map must hold a pair for each of 1 channels, or none, got 2"),
        ({"input_map": [[1, math.inf]]}, "input_map must be a finite number, got inf"),
    ],
)
def test_bad_scalings_and_maps_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        Graph.from_json(small_cnn().to_json() | change)
