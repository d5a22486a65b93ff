from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import (
    SCALING_PRESETS,
    Networks,
    NetworkSpec,
    chain_from_graph,
    forward,
    graph_from_chain,
    graph_from_spec,
    mlp,
    run,
    siren,
    small_cnn,
)

MakeNetworks = Callable[..., Networks]


@pytest.mark.parametrize("seed", range(20))
def test_weights_go_both_ways(seed: int, spec_of_seed: Callable[[int], NetworkSpec], networks_of: MakeNetworks) -> None:
    spec = spec_of_seed(seed)
    networks = networks_of(spec, 3, seed=seed)
    as_graph = graph_from_chain(networks)
    assert torch.equal(as_graph.flat(), networks.flat())
    assert torch.equal(chain_from_graph(as_graph, spec).flat(), networks.flat())
    assert as_graph.graph.num_parameters == spec.num_parameters
    shapes = [site.shape for name, site in as_graph.graph.sites.items() if name.endswith(("pool", "mean"))]
    pooled = [size for size, layer in zip(spec.map_sizes[1:], spec.layers, strict=True) if layer.pool]
    assert [shape[1:] for shape in shapes] == [size or () for size in pooled]


def test_what_is_known_of_the_images_comes_along(networks_of: MakeNetworks) -> None:
    spec = replace(
        small_cnn(input_shape=(2, 8, 8)), input_scaling=SCALING_PRESETS["unit"], input_map=((2.0, -1.0), (0.5, 0.25))
    )
    networks = networks_of(spec, 3)
    as_graph = graph_from_chain(networks)
    assert as_graph.graph.input_scaling == SCALING_PRESETS["unit"]
    assert [one.name for one in as_graph.graph.parameters if one.is_constant] == ["input_map.weight", "input_map.bias"]
    images = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(run(as_graph, images), forward(networks, images), rtol=1e-12, atol=1e-12)
    assert torch.equal(chain_from_graph(as_graph, spec).flat(), networks.flat())


def test_operations_carry_what_the_layers_say() -> None:
    conv = graph_from_spec(small_cnn("leaky_relu")).operations
    assert [operation.op for operation in conv][:2] == ["conv2d", "leaky_relu"]
    assert conv[0].attributes["padding"] == (1, 1, 1, 1)
    assert conv[1].attributes["negative_slope"] == 0.01
    assert graph_from_spec(siren(w0=7.0)).operations[1].attributes["frequency"] == 7.0


def test_networks_of_another_graph_are_not_read_back(networks_of: MakeNetworks) -> None:
    with pytest.raises(ZoovetError, match="are none of 4 → linear 3"):
        chain_from_graph(graph_from_chain(networks_of(mlp((4, 2)), 1)), mlp((4, 3)))


def test_a_graph_reads_what_its_spec_reads(networks_of: MakeNetworks) -> None:
    own = networks_of(small_cnn(), 1).with_scaling(SCALING_PRESETS["unit"])
    assert graph_from_spec(own.spec).input_scaling == SCALING_PRESETS["unit"]
