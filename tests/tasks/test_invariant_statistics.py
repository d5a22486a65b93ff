"""Statistics that no symmetry changes, and that anything else does change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zoovet.metanets.statnn import weight_statistics
from zoovet.networks import Graph, LayerSpec, Networks, mlp, run, siren, small_cnn
from zoovet.symmetry import graph_symmetry, random_action, random_chain, random_networks, random_phase_shift
from zoovet.symmetry.ties import POSITIVE
from zoovet.tasks.invariant_statistics import PARTS, invariant_statistics, with_unit_channels

TOLERANCE = 1e-10
GRAPHS = {
    "relu": small_cnn("relu", input_shape=(1, 12, 12), channels=(6, 5, 4)),
    "tanh": small_cnn("tanh", input_shape=(3, 12, 12), channels=(6, 5, 4)),
    "sigmoid": mlp((7, 6, 5, 3), "sigmoid"),
    "identity": mlp((2, 6, 5, 3), "identity"),
    "siren": siren((2, 8, 8, 3)),
    "flattened": Graph.of_layers(
        input_shape=(1, 6, 6),
        layers=(
            LayerSpec(kind="conv", in_channels=1, out_channels=5, kernel=(3, 3), activation="relu"),
            LayerSpec(kind="linear", in_channels=5, out_channels=4, kernel=(4, 4)),
        ),
    ),
    "map": Graph.of_layers(
        input_shape=(1, 6, 6), layers=(LayerSpec(kind="conv", in_channels=1, out_channels=2, kernel=(1, 3)),)
    ),
}


def drawn(graph: Graph, count: int = 6, seed: int = 0) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randn(count, graph.num_parameters, generator=generator, dtype=torch.float64) * 0.4
    return Networks.from_flat(graph, flat)


def largest_change(before: Networks, after: Networks) -> dict[str, float]:
    one, two = invariant_statistics(before), invariant_statistics(after)
    return {name: float((one[name] - two[name]).abs().max()) for name in PARTS}


@pytest.mark.parametrize("name", GRAPHS)
def test_no_symmetry_changes_them(name: str) -> None:
    networks = drawn(GRAPHS[name])
    moved = random_action(networks.graph, len(networks), torch.Generator().manual_seed(1))(networks)
    if name == "siren":
        moved = random_phase_shift(networks.graph, len(networks), torch.Generator().manual_seed(2))(moved)
    if name != "map":  # which has no hidden channel
        assert not torch.allclose(moved.flat(), networks.flat())
    assert max(largest_change(networks, moved).values()) < TOLERANCE


@pytest.mark.parametrize("seed", range(12))
def test_awkward_networks_are_described_too(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    graph = random_chain(
        generator, activations=("relu", "leaky_relu", "tanh", "sigmoid", "identity"), mixed=seed % 2 == 1
    )
    networks = random_networks(graph, 8, generator)
    moved = random_action(graph, 8, generator)(networks)
    statistics = invariant_statistics(networks)
    assert all(part.dtype == torch.float64 and bool(torch.isfinite(part).all()) for part in statistics.values())
    assert max(largest_change(networks, moved).values()) < TOLERANCE


def _out_of_order(networks: Networks) -> Networks:
    """The first layer's channels in another order, which the second does not follow."""
    return Networks.from_layers(
        networks.graph,
        (networks.weights[0].flip(1), *networks.weights[1:]),
        (networks.biases[0].flip(1), *networks.biases[1:]),
    )


@pytest.mark.parametrize("name", ["relu", "tanh"])
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda networks: networks.map(lambda tensor: 1.5 * tensor), {"size", "weights"}),
        (_out_of_order, {"answers"}),
        (lambda networks: networks.map(lambda tensor: tensor.flip(-1)), {"answers"}),
    ],
)
def test_what_changes_the_function_changes_them(
    name: str, change: Callable[[Networks], Networks], parts: set[str]
) -> None:
    networks = drawn(GRAPHS[name])
    changes = largest_change(networks, change(networks))
    assert all(changes[part] > 0.01 for part in parts), changes


def test_scaling_is_no_symmetry_of_tanh() -> None:
    """The check itself would fail on numbers that are not invariant."""
    networks = drawn(GRAPHS["tanh"])
    too_much = graph_symmetry(networks.graph).with_scalars(POSITIVE)
    scaled = random_action(too_much, len(networks), torch.Generator().manual_seed(1))(networks)
    assert max(largest_change(networks, scaled).values()) > 0.1
    relu = drawn(GRAPHS["relu"])
    moved = random_action(relu.graph, len(relu), torch.Generator().manual_seed(1))(relu)
    assert float((weight_statistics(relu) - weight_statistics(moved)).abs().max()) > 0.1


@pytest.mark.parametrize("name", ["relu", "identity", "flattened", "tanh"])
def test_unit_channels_keep_the_function(name: str) -> None:
    networks = drawn(GRAPHS[name])
    networks.weights[0][0, 2] = 0.0
    networks.biases[0][0, 2] = 0.0  # a channel that is always 0
    networks.weights[0][1, 2] = 0.0  # a channel that is always its bias
    normal = with_unit_channels(networks)
    inputs = torch.randn(
        9, *networks.graph.input_shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    torch.testing.assert_close(run(normal, inputs), run(networks, inputs), rtol=1e-10, atol=1e-10)
    squares = normal.weights[0].flatten(2).square().sum(dim=2) + normal.biases[0].square()
    if name == "tanh":
        assert torch.equal(normal.flat(), networks.flat())
    else:
        assert float(squares[0, 2]) == 0.0
        assert not normal.weights[1][0, :, 2].any()
        torch.testing.assert_close(squares[1:], torch.ones_like(squares[1:]))


@pytest.mark.parametrize("size", [1e-30, 1e30, 1e38])
def test_numbers_that_overflow_stay_finite(size: float) -> None:
    for name in ("relu", "tanh"):
        networks = drawn(GRAPHS[name]).map(lambda tensor: (size * tensor).float())
        statistics = invariant_statistics(networks)
        assert all(bool(torch.isfinite(part).all()) for part in statistics.values())


def test_precision_and_batching_make_no_difference() -> None:
    networks = drawn(GRAPHS["relu"])
    whole, single = invariant_statistics(networks.to(dtype=torch.float32)), invariant_statistics(networks[2])
    exact = invariant_statistics(networks)
    for name in PARTS:
        part: Tensor = exact[name]
        torch.testing.assert_close(whole[name], part, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(single[name], part[2:3], rtol=1e-10, atol=1e-10)


def test_many_networks_are_described_piece_by_piece() -> None:
    graph = GRAPHS["flattened"]
    networks = drawn(graph, count=600)
    whole, last = invariant_statistics(networks), invariant_statistics(networks[512:])
    assert all(len(part) == 600 for part in whole.values())
    assert all(torch.equal(whole[name][512:], last[name]) for name in PARTS)
