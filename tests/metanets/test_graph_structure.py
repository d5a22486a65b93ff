"""Which nodes and edges a graph has for a metanetwork."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets.graph_numbers import graph_weights
from zoovet.metanets.graph_structure import graph_structure
from zoovet.metanets.structure import Structure
from zoovet.networks.batch import Networks
from zoovet.networks.graph import INPUT, Graph, Operation, Parameter
from zoovet.networks.graph_builder import GraphBuilder
from zoovet.networks.layer_spec import LayerSpec
from zoovet.symmetry import graph_symmetry, random_chain


class Draft:
    """A graph in the making."""

    def __init__(self, *shape: int) -> None:
        self.builder = GraphBuilder(shape)
        self.num_operations = 0

    def add(self, op: str, *sites: str, shapes: dict[str, tuple[int, ...]] | None = None, **attributes: Any) -> str:
        number = self.num_operations
        self.num_operations += 1
        roles = {role: self.builder.parameter(f"{op}{number}.{role}", shape) for role, shape in (shapes or {}).items()}
        return self.builder.add(op, *sites, parameters=roles, **attributes)

    def conv(self, site: str, width: int, groups: int = 1) -> str:
        channels = self.builder.site(site).shape[0]
        shapes = {"weight": (width, channels // groups, 3, 3), "bias": (width,)}
        return self.add("conv2d", site, shapes=shapes, padding=(1, 1, 1, 1), groups=groups)

    def head(self, site: str) -> Graph:
        pooled = self.add("mean", site, dim=(1, 2))
        return self.builder.graph(
            self.add("linear", pooled, shapes={"weight": (2, self.builder.site(pooled).shape[0])})
        )


def described(structure: Structure) -> list[tuple[int, int, int, str]]:
    return [(block.source, block.target, block.cells, block.kind) for block in structure.blocks]


def _down_to_a_pixel() -> tuple[LayerSpec, ...]:
    """A convolution of one channel that leaves a map of one pixel, which a linear layer reads."""
    conv = LayerSpec(kind="conv", in_channels=1, out_channels=1, kernel=(2, 2), activation="tanh")
    return conv, LayerSpec(kind="linear", in_channels=1, out_channels=3, kernel=(1, 1))


def test_a_chain_has_a_group_for_each_of_its_own_and_a_block_for_each_layer() -> None:
    activations = ("relu", "leaky_relu", "tanh", "sine", "sigmoid", "gelu", "silu")
    graphs = [
        random_chain(torch.Generator().manual_seed(seed), activations=activations, mixed=True) for seed in range(20)
    ]
    graphs.append(Graph.of_layers(input_shape=(1, 2, 2), layers=_down_to_a_pixel()))
    for graph in graphs:
        structure, chain = graph_structure(graph), graph.chain
        assert [(one.size, one.role, one.depth) for one in structure.groups] == [
            (one.size, one.role, one.depth) for one in chain.groups
        ]
        for group, site in zip(structure.groups, (INPUT, *chain.sites), strict=True):
            allowed = graph_symmetry(graph).site_symmetry(site)
            is_alone = group.role == "hidden" and group.size == 1  # a channel without others has nothing to permute
            assert group.symmetry == ("permutation" if is_alone and allowed == "fixed" else allowed)
        assert described(structure) == [(block.source, block.target, 1, "weights") for block in chain.blocks]
        assert [block.kernel for block in structure.blocks] == [layer.kernel for layer in chain.layers]
        assert all(block.source_index is block.target_index is None for block in structure.blocks)


def test_a_stream_is_joined_by_edges_of_the_same_channels() -> None:
    draft = Draft(1, 4, 4)
    stem = draft.add("relu", draft.conv(INPUT, 3))
    joined = draft.add("relu", draft.add("add", draft.conv(stem, 3), stem))
    structure = graph_structure(draft.head(joined))
    assert [(group.size, group.depth, group.symmetry) for group in structure.groups] == [
        (1, 0, "fixed"),
        (3, 1, "scale"),
        (3, 2, "scale"),
        (3, 3, "scale"),
        (2, 4, "fixed"),
    ]
    assert described(structure) == [
        (0, 1, 1, "weights"),
        (1, 2, 1, "weights"),
        (2, 3, 3, "identity"),
        (1, 3, 3, "identity"),
        (3, 4, 1, "weights"),
    ]


def test_grouped_and_normalizing_operations_have_cells() -> None:
    draft = Draft(2, 4, 4)
    first = draft.conv(INPUT, 6)
    roles = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (6,))
    normed = draft.add("batch_norm", first, shapes=roles, eps=0.5)
    graph = draft.head(draft.add("relu", draft.conv(draft.add("relu", normed), 4, groups=2)))
    structure = graph_structure(graph)
    assert described(structure) == [
        (0, 1, 1, "weights"),
        (1, 2, 6, "weights"),
        (2, 3, 2, "weights"),
        (3, 4, 1, "weights"),
    ]
    assert [group.symmetry for group in structure.groups[1:4]] == ["nonzero", "scale", "scale"]
    generator = torch.Generator().manual_seed(0)
    values = {name: torch.rand(1, *shape, generator=generator) for name, shape in graph.shapes.items()}
    numbers = graph_weights(Networks(graph, values), None)
    scale = values["batch_norm1.weight"] / (values["batch_norm1.running_var"] + 0.5).sqrt()
    torch.testing.assert_close(numbers.weights[1], scale.reshape(6, 1, 1))
    shift = values["batch_norm1.bias"] - values["batch_norm1.running_mean"] * scale
    torch.testing.assert_close(numbers.biases[2], shift)
    grouped = numbers.weights[2]
    assert grouped is not None
    assert torch.equal(grouped, values["conv2d3.weight"].reshape(2, 2, 3, 3, 3))


def test_a_concatenation_is_read_part_by_part() -> None:
    draft = Draft(1, 4, 4)
    first = draft.add("relu", draft.conv(INPUT, 2))
    both = draft.add("cat", draft.add("tanh", draft.conv(first, 3)), first, dim=0)
    structure = graph_structure(draft.head(both))
    parts = [block for block in structure.blocks if block.kind == "identity"]
    assert all(block.source_index is None for block in parts)
    placed = {block.source: block.target_index.tolist() for block in parts if block.target_index is not None}
    assert placed == {1: [3, 4], 2: [0, 1, 2]}
    joined = structure.groups[parts[0].target]
    assert (joined.size, joined.symmetry) == (5, "nonzero")  # signs of some and scales of others: all of it


def test_a_gate_that_could_not_be_exact_is_left_out() -> None:
    kinds = {}
    for activation in ("relu", "tanh", "gelu"):
        draft = Draft(1, 4, 4)
        value = draft.add(activation, draft.conv(INPUT, 3))
        mean = draft.add("adaptive_avg_pool2d", value, output_size=(1, 1))
        gate = draft.add("sigmoid", draft.conv(mean, 3))
        structure = graph_structure(draft.head(draft.add("mul", value, gate)))
        kinds[activation] = sorted(block.kind for block in structure.blocks if block.kind != "weights")
    assert kinds == {"relu": ["gate", "identity", "identity"], "tanh": ["identity"] * 2, "gelu": ["identity"] * 3}


def test_a_network_that_answers_with_its_input_is_refused() -> None:
    graph = Graph(
        input_shape=(3,),
        parameters=(Parameter(name="unread", shape=(2, 3)),),
        operations=(
            Operation(op="linear", inputs=(INPUT,), output="aside", parameters={"weight": "unread"}),
            Operation(op="relu", inputs=(INPUT,), output="same"),
        ),
        output=INPUT,
    )
    with pytest.raises(ZoovetError, match="networks whose output is their input"):
        graph_structure(graph)
