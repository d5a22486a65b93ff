"""Phase shifts keep the function, and refuse to be anything that would not."""

from __future__ import annotations

import math

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.chains import mlp, siren
from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import LayerSpec, PoolSpec
from zoovet.networks.run import run
from zoovet.symmetry import PhaseShift, random_networks, random_phase_shift
from zoovet.symmetry.phases import half_turns_kept

GRAPH = siren((2, 8, 8, 1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def values(networks: Networks) -> torch.Tensor:
    return run(networks, torch.randn(50, *networks.graph.input_shape, generator=seeded(9), dtype=torch.float64))


def test_shifting_keeps_the_function() -> None:
    networks = random_networks(GRAPH, 4, seeded())
    shift = random_phase_shift(GRAPH, 4, seeded(1))
    moved = shift(networks)
    assert float((values(moved) - values(networks)).abs().max()) <= 1e-12
    for layer in (0, 1):
        turns = (moved.biases[layer] - networks.biases[layer]) * 30 / math.pi
        assert torch.equal(turns.round().long(), shift.half_turns[layer])
        assert {-4, 4} <= set(turns.round().long().flatten().tolist()) <= set(range(-4, 5))
    assert torch.equal(moved.biases[2], networks.biases[2])
    assert not torch.equal(shift.half_turns[0][0], shift.half_turns[0][1])


def test_an_odd_half_turn_without_its_sign_would_change_the_function() -> None:
    networks = random_networks(GRAPH, 4, seeded())
    moved = random_phase_shift(GRAPH, 4, seeded(1))(networks)
    unsigned = Networks.from_layers(GRAPH, networks.weights, moved.biases)
    assert float((values(unsigned) - values(networks)).abs().max()) > 0.01


def test_what_each_layer_allows() -> None:
    pool = PoolSpec(kind="max", kernel=(2, 2), stride=(2, 2))
    layers = (
        LayerSpec(kind="conv", in_channels=1, out_channels=2, kernel=(3, 3), activation="sine", pool=pool),
        LayerSpec(kind="conv", in_channels=2, out_channels=2, kernel=(1, 1), activation="relu"),
        LayerSpec(kind="conv", in_channels=2, out_channels=2, kernel=(1, 1), activation="sine"),
        LayerSpec(kind="linear", in_channels=2, out_channels=2, kernel=(3, 3), activation="sine"),
    )
    graph = Graph.of_layers(input_shape=(1, 8, 8), layers=layers)
    assert half_turns_kept(graph) == (2, 0, 1, 2)
    networks = random_networks(graph, 3, seeded())
    moved = random_phase_shift(graph, 3, seeded())(networks)
    assert float((values(moved) - values(networks)).abs().max()) <= 1e-12
    assert not torch.equal(moved.biases[0], networks.biases[0])


def shift_of(*rows: list[int], dtype: torch.dtype = torch.int64) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([row], dtype=dtype) for row in rows)


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (shift_of([1, 2]), r"the graph has 2 layers, got 1 half_turns"),
        (shift_of([1, 2], [1]), r"half_turns\[1\] would change the function: layer 1 allows none, for it has no sine"),
        (shift_of([1], [0]), r"half_turns\[0\] must be int64 of the shape \(1, 2\) .* got torch.int64 of \(1, 1\)"),
        (shift_of([1, 2], [0], dtype=torch.int32), r"half_turns\[0\] must be int64 .* got torch.int32"),
    ],
)
def test_shifts_that_do_not_fit_are_refused(turns: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        PhaseShift(siren((2, 2, 1)), turns)


def test_half_a_turn_at_the_output_is_refused() -> None:
    graph = Graph.of_layers(
        input_shape=(2,), layers=(LayerSpec(kind="linear", in_channels=2, out_channels=2, activation="sine"),)
    )
    with pytest.raises(ZoovetError, match=r"half_turns\[0\] would .*: layer 0 allows whole turns \(even numbers\)"):
        PhaseShift(graph, shift_of([2, 1]))


def test_misfits_are_named() -> None:
    shift = random_phase_shift(GRAPH, 2, seeded())
    with pytest.raises(ZoovetError, match=r"for 2 networks 2 → linear 8 sine.* got 3 of"):
        shift(random_networks(GRAPH, 3, seeded()))
    with pytest.raises(ZoovetError, match=r"for 2 networks 2 → linear 8 sine.* got 2 of 2 → linear 3 tanh"):
        shift(random_networks(mlp((2, 3, 1), "tanh"), 2, seeded()))
    with pytest.raises(ZoovetError, match="max_half_turns must not be negative, got -1"):
        random_phase_shift(GRAPH, 2, seeded(), max_half_turns=-1)
