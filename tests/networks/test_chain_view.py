from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import (
    SCALING_PRESETS,
    Graph,
    Networks,
    mlp,
    run,
    siren,
    small_cnn,
)
from zoovet.networks.chain_view import chain_of

MakeNetworks = Callable[..., Networks]


def renamed(graph: Graph) -> Graph:
    """The same operations and shapes under other names."""
    names = {name: f"p{number}" for number, name in enumerate(graph.shapes)}
    sites = {name: f"s{number}" if number else name for number, name in enumerate(graph.sites)}
    return replace(
        graph,
        parameters=tuple(replace(one, name=names[one.name]) for one in graph.parameters),
        operations=tuple(
            replace(
                one,
                inputs=tuple(sites[name] for name in one.inputs),
                output=sites[one.output],
                parameters={role: names[name] for role, name in one.parameters.items()},
            )
            for one in graph.operations
        ),
        output=sites[graph.output],
    )


@pytest.mark.parametrize("seed", range(20))
def test_layers_are_read_back_whatever_the_names(
    seed: int, spec_of_seed: Callable[[int], Graph], networks_of: MakeNetworks
) -> None:
    graph = spec_of_seed(seed)
    networks = networks_of(graph, 3, seed=seed)
    layers = graph.chain.layers
    again = Graph.from_json(json.loads(json.dumps(graph.to_json())))
    assert again == graph == networks.graph
    other = renamed(graph)
    assert other != graph
    assert other.chain.layers == layers
    assert other.graph_id == graph.graph_id
    assert other.describe() == graph.describe()
    assert Graph.from_json(json.loads(json.dumps(other.to_json()))) == other
    moved = Networks(other, dict(zip(other.shapes, networks.parameters.values(), strict=True)))
    for ours, theirs in zip((*moved.weights, *moved.biases), (*networks.weights, *networks.biases), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(Networks.from_layers(other, moved.weights, moved.biases).flat(), networks.flat())
    shapes = [site.shape for name, site in graph.sites.items() if name.endswith(("pool", "mean"))]
    pooled = [size for size, layer in zip(graph.chain.map_sizes[1:], layers, strict=True) if layer.pool]
    assert [shape[1:] for shape in shapes] == [size or () for size in pooled]


def test_what_is_known_of_the_images_comes_along(networks_of: MakeNetworks) -> None:
    graph = replace(
        small_cnn(input_shape=(2, 8, 8)), input_scaling=SCALING_PRESETS["unit"], input_map=((2.0, -1.0), (0.5, 0.25))
    )
    networks = networks_of(graph, 3)
    assert networks.graph.input_scaling == SCALING_PRESETS["unit"]
    assert networks.graph.input_map == graph.input_map
    assert chain_of(networks.graph) == networks.graph.chain
    assert networks.graph != networks.graph.architecture == graph.architecture
    images = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    factors, starts = torch.tensor(graph.input_map, dtype=torch.float64).T.reshape(2, 2, 1, 1)
    plain = Networks(networks.graph.architecture, networks.parameters)
    torch.testing.assert_close(run(networks, images), run(plain, images * factors + starts), rtol=1e-12, atol=1e-12)
    again = Graph.from_json(json.loads(json.dumps(renamed(networks.graph).to_json())))
    assert again.input_map == graph.input_map
    assert again.input_scaling == SCALING_PRESETS["unit"]


def test_operations_carry_what_the_layers_say() -> None:
    conv = small_cnn("leaky_relu").operations
    assert [operation.op for operation in conv][:2] == ["conv2d", "leaky_relu"]
    assert conv[0].attributes["padding"] == (1, 1, 1, 1)
    assert conv[1].attributes["negative_slope"] == 0.01
    assert siren(w0=7.0).operations[1].attributes["frequency"] == 7.0


def test_a_graph_reads_what_its_spec_reads(networks_of: MakeNetworks) -> None:
    own = networks_of(small_cnn(), 1).with_scaling(SCALING_PRESETS["unit"])
    assert own.graph.input_scaling == own.graph.input_scaling == SCALING_PRESETS["unit"]
    assert own.with_scaling(None).graph.input_scaling is None


@pytest.mark.parametrize(
    "changes",
    [
        {"attributes": {"stride": (2, 2), "padding": (1, 1, 1, 0)}},
        {"attributes": {"stride": (2, 2), "padding": (1, 1, 1, 1), "groups": 1}, "parameters": {"weight": "w"}},
    ],
)
def test_a_graph_that_is_nearly_a_chain_is_none(changes: dict[str, object]) -> None:
    graph = small_cnn()
    first = graph.operations[0]
    if "parameters" in changes:
        changes = {**changes, "parameters": {"weight": "layers.0.weight"}}
    kept = tuple(one for one in graph.parameters if one.name != "layers.0.bias" or "parameters" not in changes)
    other = replace(graph, operations=(replace(first, **changes), *graph.operations[1:]), parameters=kept)  # type: ignore[arg-type]
    assert not other.is_chain
    with pytest.raises(ZoovetError, match=r"needs layers one after another, .* got the graph [0-9a-f]{12}"):
        _ = other.chain


def test_one_that_reads_a_site_twice_is_no_chain(residual_graph: Graph) -> None:
    assert not residual_graph.is_chain
    assert not replace(mlp((3, 3, 2)), output="layers.0").is_chain
    assert residual_graph.in_words() == f"the graph {residual_graph.graph_id}"
