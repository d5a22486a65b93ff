from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from zoovet.errors import ZoovetError
from zoovet.networks import SCALING_PRESETS, Graph, Operation, Parameter, siren, small_cnn
from zoovet.networks.graph_text import describe


def test_sites_know_shapes_and_channels(residual_graph: Graph) -> None:
    sites = residual_graph.sites
    assert sites["conv2d0"].shape == (8, 9, 9)
    assert sites["conv2d3"].shape == (16, 4, 4)
    assert sites["avg_pool2d"].shape == (8, 5, 5)
    assert sites["cat"].shape == (32, 4, 4)
    assert sites["mean"].shape == (32,)
    assert {site.channel_axis for site in sites.values()} == {0}
    assert residual_graph.output_shape == (5,)
    assert residual_graph.answers == "logits"


def test_a_flattened_map_keeps_its_channels(builder: Any) -> None:
    make = builder((6, 4, 5))
    flat = make.add("flatten", "input")
    assert (make.site(flat).shape, make.site(flat).channel_axis, make.site(flat).num_channels) == ((120,), 0, 6)
    again = make.add("reshape", flat, shape=(6, 20))
    assert (make.site(again).channel_axis, make.site(again).num_channels) == (0, 6)
    turned = make.add("permute", again, dims=(1, 0))
    assert (make.site(turned).shape, make.site(turned).channel_axis) == ((20, 6), 1)
    heads = make.add("reshape", turned, shape=(20, 2, 3))
    assert make.site(heads).channel_axis is None
    assert make.site(make.add("reshape", heads, shape=(20, 6))).channel_axis is None


def test_json_goes_both_ways(residual_graph: Graph) -> None:
    for graph in (
        residual_graph,
        siren(),
        replace(residual_graph, input_scaling=SCALING_PRESETS["unit"]),
    ):
        read = Graph.from_json(json.loads(json.dumps(graph.to_json())))
        assert read == graph
        assert hash(read) == hash(graph)
        assert read.graph_id == graph.graph_id
        assert read.input_scaling == graph.input_scaling


def test_a_graph_never_changes_and_can_be_sent(residual_graph: Graph) -> None:
    assert pickle.loads(pickle.dumps(residual_graph)) == residual_graph
    assert copy.deepcopy(residual_graph) == residual_graph
    attributes: Any = residual_graph.operations[0].attributes
    for change in (lambda: attributes.update(stride=1), lambda: attributes.__setitem__("stride", 1), attributes.clear):
        with pytest.raises(TypeError, match="does not change"):
            change()
    with pytest.raises(AttributeError):
        residual_graph.output = "x"  # type: ignore[misc]


def renamed(graph: Graph) -> Graph:
    text = json.dumps(graph.to_json())
    for name in sorted((*graph.shapes, *list(graph.sites)[1:]), key=len, reverse=True):
        text = text.replace(f'"{name}"', f'"my.{name}"').replace(f'"op": "my.{name}"', f'"op": "{name}"')
    return Graph.from_json(json.loads(text))


def test_the_id_knows_what_is_computed_not_what_it_is_called(residual_graph: Graph) -> None:
    other = renamed(residual_graph)
    assert other != residual_graph
    assert other.graph_id == residual_graph.graph_id
    assert small_cnn().graph_id != small_cnn("tanh").graph_id
    eps = json.loads(json.dumps(residual_graph.to_json()).replace('"eps": 1e-05', '"eps": 1e-03'))
    assert Graph.from_json(eps).graph_id != residual_graph.graph_id


def test_small_chains_are_described_in_a_line_and_others_in_a_table(residual_graph: Graph) -> None:
    graph = small_cnn()
    assert graph.describe() == small_cnn().describe()
    assert describe(graph) == (
        "1×28×28 → conv2d 16 3×3 /2 → relu → conv2d 16 3×3 /2 → relu → conv2d 16 3×3 /2 → relu → mean dim 1,2 → "
        "linear 10"
    )
    lines = residual_graph.describe().splitlines()
    assert lines[0] == "3×9×9 → 5, 19 operations, 2,205 numbers, unknown input scaling"
    assert len(lines) == 2 + len(residual_graph.operations)
    assert lines[2].split() == ["conv2d0", "conv2d", "8", "3×3", "input", "8×9×9", "216"]
    assert any("groups 16" in line for line in lines)


def test_softmax_at_the_end_makes_probabilities(builder: Any) -> None:
    make = builder((4,))
    assert make.graph(make.add("softmax", "input", dim=0)).answers == "probabilities"
    assert make.graph(make.add("log_softmax", "input", dim=0)).answers == "log_probabilities"


Change = Callable[[dict[str, Any]], Any]


def _set(path: str, value: Any) -> Change:
    def change(data: Any) -> None:
        *steps, last = path.split(".")
        for step in steps:
            data = data[int(step) if step.isdigit() else step]
        data[int(last) if last.isdigit() else last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("operations.0.op", "conv2"), r"operations\[0\]: the operation 'conv2' is unknown; did you mean 'conv2d'"),
        (_set("operations.0.op", "x" * 3000), r"operations\[0\].op must be a text of 1 to 512 characters"),
        (
            _set("operations.0.attributes.strides", [1, 1]),
            r"conv2d 'conv2d0': the attribute 'strides' .* mean 'stride'",
        ),
        (_set("operations.0.attributes.stride", [0, 1]), r"'stride' must be an integer of at least 1 .* got 0"),
        (_set("operations.0.attributes.stride", 2), r"'stride' must be a list of 2 integers, got 2"),
        (_set("operations.0.attributes.stride", [2**40, 1]), r"'stride' must be an integer .* got 1099511627776"),
        (_set("operations.0.attributes.groups", True), r"'groups' must be an integer of at least 1"),
        (_set("operations.1.attributes.eps", float("nan")), r"'eps' must be a number from 0 to 1, got nan"),
        (_set("operations.0.parameters", {}), r"conv2d 'conv2d0': its weight is missing"),
        (_set("operations.0.parameters.wait", "x"), r"the parameter role 'wait' is unknown; did you mean 'weight'"),
        (_set("operations.0.parameters.bias", "conv2d0.bias"), r"its bias 'conv2d0.bias' is not among the parameters"),
        (_set("operations.0.inputs", []), r"conv2d 'conv2d0': it reads 1 sites, got 0"),
        (_set("operations.0.inputs", ["relu"]), r"operation 0 .* reads 'relu', which operation 2 makes only then"),
        (
            _set("operations.0.inputs", ["conv2d0"]),
            r"operation 0 .* reads 'conv2d0', which operation 0 makes only then",
        ),
        (_set("operations.2.inputs", ["batchnorm1"]), r"operation 2 .* nothing makes; did you mean 'batch_norm1'"),
        (_set("operations.2.inputs", ["\x1b[2J"]), r"reads '\\x1b\[2J', which nothing makes"),
        (_set("operations.2.output", "conv2d0"), r"operation 2 .* makes a site that is there already"),
        (_set("operations.2.output", ""), r"must be a text of 1 to 512 characters, got ''"),
        (
            _set("parameters.0.shape", [8, 4, 3, 3]),
            r"operation 0 \(conv2d 'conv2d0'\): the weight \[8, 4, 3, 3\] .* 4 chan.* 3 come",
        ),
        (_set("parameters.1.name", "conv2d0.weight"), r"the parameter 'conv2d0.weight' occurs twice"),
        (_set("parameters.0.shape", [-1]), r"must be an integer of at least 0 .* got -1"),
        (_set("output", "lin"), r"the output 'lin' is no site; did you mean 'linear"),
        (_set("output", None), r"a graph's 'output' must be a text"),
        (
            _set("input_shape", [3, 9]),
            r"input_shape must be \(channels, height, width\) or \(features,\), got \(3, 9\)",
        ),
        (_set("input_shape", [5, 9, 9]), r"operation 0 .* reads 3 channels, but 5 come in"),
        (_set("operations", {}), r"a graph's 'operations' must be a list of at most 20000"),
        (_set("version", 3), r"a graph has the unknown key 'version'"),
        (_set("input_scaling", {"range": [0, 1]}), r"an input scaling lacks the key"),
        (lambda data: data.pop("operations"), r"a graph lacks the key 'operations'"),
        (lambda data: data["operations"][0].pop("output"), r"operations\[0\] lacks the key 'output'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change: Change, message: str, residual_graph: Graph) -> None:
    data = json.loads(json.dumps(residual_graph.to_json()))
    change(data)
    with pytest.raises(ZoovetError, match=message) as raised:
        Graph.from_json(data)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700


def test_a_parameter_that_no_operation_reads_is_refused(residual_graph: Graph) -> None:
    spare = Parameter(name="spare", shape=(3,))
    with pytest.raises(ZoovetError, match="the parameter 'spare' is read by no operation"):
        replace(residual_graph, parameters=(*residual_graph.parameters, spare))


def test_sites_out_of_all_proportion_are_refused() -> None:
    with pytest.raises(ZoovetError, match="would make"):
        Graph(
            input_shape=(1, 4, 4),
            parameters=(),
            operations=(Operation(op="pad", inputs=("input",), output="p", attributes={"pad": [0, 2**30] * 3}),),
            output="p",
        )


def test_the_scaling_must_be_for_the_channels_that_are_read() -> None:
    with pytest.raises(ZoovetError, match="is for 3 channels, but images have 1"):
        replace(small_cnn(), input_scaling=SCALING_PRESETS["imagenet"])
