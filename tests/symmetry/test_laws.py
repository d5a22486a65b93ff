"""Which symmetry follows from activations, poolings and what is added up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoovet.networks import run
from zoovet.networks.chains import mlp, siren, small_cnn
from zoovet.networks.graph import INPUT, Graph
from zoovet.networks.graph_builder import GraphBuilder
from zoovet.networks.layer_spec import ACTIVATIONS, LayerSpec, PoolSpec
from zoovet.symmetry import Symmetry, graph_symmetry, random_chain, random_networks
from zoovet.symmetry.checked_networks import draw_action
from zoovet.symmetry.ties import NEGATION, NONZERO, POSITIVE, UNSCALED

POOLINGS = {
    None: None,
    "average": PoolSpec(kind="average", kernel=(2, 2), stride=(2, 2)),
    "max": PoolSpec(kind="max", kernel=(2, 2), stride=(2, 2)),
    "global": PoolSpec(kind="global"),
}


def cnn(activation: str, pooling: str | None) -> Graph:
    conv = LayerSpec(
        kind="conv", in_channels=1, out_channels=3, kernel=(3, 3), activation=activation, pool=POOLINGS[pooling]
    )
    size = Graph.of_layers(input_shape=(1, 8, 8), layers=(conv,)).chain.map_sizes[-1] or ()
    linear = LayerSpec(kind="linear", in_channels=3, out_channels=2, kernel=size)
    return Graph.of_layers(input_shape=(1, 8, 8), layers=(conv, linear))


ALLOWED = {
    "identity": NONZERO,
    "relu": POSITIVE,
    "leaky_relu": POSITIVE,
    "tanh": NEGATION,
    "sine": NEGATION,
    **dict.fromkeys(("sigmoid", "gelu", "silu"), UNSCALED),
}
NAMES: dict[int, Symmetry] = {NONZERO: "nonzero", POSITIVE: "scale", NEGATION: "sign", UNSCALED: "permutation"}


def symmetries(graph: Graph) -> tuple[str, ...]:
    """Of the input and of what each layer of a chain makes."""
    symmetry = graph_symmetry(graph)
    return tuple(symmetry.site_symmetry(site) for site in (INPUT, *graph.chain.sites))


@pytest.mark.parametrize(
    ("activation", "without_max", "with_max"),
    [
        ("identity", "nonzero", "scale"),
        ("relu", "scale", "scale"),
        ("leaky_relu", "scale", "scale"),
        ("tanh", "sign", "permutation"),
        ("sine", "sign", "permutation"),
        ("sigmoid", "permutation", "permutation"),
        ("gelu", "permutation", "permutation"),
        ("silu", "permutation", "permutation"),
    ],
)
def test_symmetry_follows_from_activation_and_pooling(activation: str, without_max: str, with_max: str) -> None:
    for pooling in (None, "average", "global"):
        assert symmetries(cnn(activation, pooling)) == ("fixed", without_max, "fixed")
    assert symmetries(cnn(activation, "max")) == ("fixed", with_max, "fixed")


def test_every_activation_and_pooling_is_known() -> None:
    for activation in ACTIVATIONS:
        for pooling in POOLINGS:
            assert symmetries(cnn(activation, pooling))[1] != "fixed"


def test_random_chains_have_the_symmetry_of_their_layers() -> None:
    for seed in range(40):
        graph = random_chain(torch.Generator().manual_seed(seed), mixed=True, activations=tuple(ALLOWED))
        symmetry = graph_symmetry(graph)
        for layer, site in zip(graph.chain.layers[:-1], graph.chain.sites[:-1], strict=True):
            has_max = layer.pool is not None and layer.pool.kind == "max"
            wanted = NAMES[ALLOWED[layer.activation] & (POSITIVE if has_max else NONZERO)]
            if layer.out_channels > 1 or wanted != "permutation":
                assert symmetry.site_symmetry(site) == wanted
            moved = symmetry.moves[symmetry.site_slots(site)]
            assert bool(moved.all()) == (layer.out_channels > 1)
        assert not symmetry.moves[symmetry.site_slots(INPUT)].any()
        assert not symmetry.moves[symmetry.site_slots(graph.output)].any()


def test_activation_and_pooling_after_the_last_layer_leave_the_output_fixed() -> None:
    layer = LayerSpec(kind="linear", in_channels=2, out_channels=3, activation="relu")
    assert symmetries(Graph.of_layers(input_shape=(2,), layers=(layer,))) == ("fixed", "fixed")


@pytest.mark.parametrize(
    ("activations", "expected"),
    [
        ((("relu", False), ("leaky_relu", True)), "scale"),
        (((None, False), ("relu", False)), "scale"),
        (((None, False), ("tanh", False)), "sign"),
        ((("relu", False), ("tanh", False)), "permutation"),
        ((("tanh", False), ("tanh", True)), "permutation"),
    ],
)
def test_several_layers_added_up_leave_what_they_share(
    activations: tuple[tuple[str | None, bool], ...], expected: str
) -> None:
    builder = GraphBuilder((2, 4, 4))
    parts = []
    for index, (activation, has_max) in enumerate(activations):
        weight = {"weight": builder.parameter(f"weight{index}", (3, 2, 1, 1))}
        part = builder.add("conv2d", INPUT, name=f"conv{index}", parameters=weight)
        part = builder.add(activation, part, name=f"active{index}") if activation else part
        if has_max:
            part = builder.add(
                "max_pool2d", part, name=f"pool{index}", kernel_size=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1)
            )
        parts.append(part)
    total = builder.add("add", *parts, name="total")
    weight = {"weight": builder.parameter("weight", (2, 3, 4, 4))}
    graph = builder.graph(builder.add("conv2d", total, name="last", parameters=weight))
    assert graph_symmetry(graph).site_symmetry("total") == expected


def test_what_all_channels_share() -> None:
    first, second, last = mlp((2, 5, 5, 1), "relu").chain.layers
    tanh = mlp((2, 5, 5, 1), "tanh").chain.layers[1]
    for graph, shared in (
        (small_cnn("relu"), POSITIVE),
        (small_cnn("tanh"), NEGATION),
        (siren(), NEGATION),
        (mlp((2, 5, 1), "gelu"), UNSCALED),
        (Graph.of_layers(input_shape=(2,), layers=(first, tanh, last)), UNSCALED),
        (Graph.of_layers(input_shape=(2,), layers=(first, second, last)), POSITIVE),
    ):
        drawn = draw_action(random_networks(graph, 1, torch.Generator()), torch.Generator(), "network", 1.0)
        assert set(drawn.symmetry.allowed[drawn.symmetry.free].tolist()) <= {shared}
        own = graph_symmetry(graph)
        assert shared == UNSCALED or np.array_equal(drawn.symmetry.allowed != UNSCALED, own.free)


def test_nothing_acts_on_a_network_without_hidden_channels() -> None:
    symmetry = graph_symmetry(mlp((3, 2)))
    assert not symmetry.free.any()
    assert symmetry.groups == ()


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_maps_of_another_size_keep_what_channels_may_do(mode: str) -> None:
    builder = GraphBuilder((2, 4, 4))
    first, last = builder.parameter("first", (3, 2, 1, 1)), builder.parameter("last", (2, 3, 7, 5))
    conv = builder.add("conv2d", INPUT, parameters={"weight": first})
    resized = builder.add("interpolate", builder.add("relu", conv), name="resized", size=(7, 5), mode=mode)
    graph = builder.graph(builder.add("conv2d", resized, parameters={"weight": last}))
    assert graph_symmetry(graph).site_symmetry("resized") == "scale"
    networks = random_networks(graph, 2, torch.Generator().manual_seed(0)).to(dtype=torch.float64)
    acted = draw_action(networks, torch.Generator().manual_seed(1), "network", 1.0)(networks)
    images = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    assert not torch.allclose(acted.flat(), networks.flat())
    torch.testing.assert_close(run(acted, images), run(networks, images), rtol=1e-10, atol=1e-10)
