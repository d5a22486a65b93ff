"""Random chains cover what they promise."""

from __future__ import annotations

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.symmetry import random_chain


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_random_chains_cover_the_space() -> None:
    generator = seeded()
    graphs = [random_chain(generator) for _ in range(400)]
    layers = [layer for graph in graphs for layer in graph.chain.layers]
    hidden = [layer for graph in graphs for layer in graph.chain.layers[:-1]]
    assert {len(graph.chain.layers) for graph in graphs} == {1, 2, 3, 4, 5, 6}
    assert {layer.out_channels for layer in hidden} == set(range(1, 41))
    assert {graph.num_outputs for graph in graphs} == set(range(1, 13))
    assert {layer.kernel for layer in layers if layer.kind == "conv"} == {(1, 1), (3, 3), (5, 5), (7, 7)}
    assert {layer.activation for layer in hidden} == {"relu", "leaky_relu", "tanh", "sine"}
    assert {layer.pool.kind if layer.pool else None for layer in hidden} == {None, "average", "max", "global"}
    assert {layer.stride for layer in layers} == {(1, 1), (2, 2)}
    assert {layer.dilation for layer in layers} == {(1, 1), (2, 2)}
    assert any(layer.kind == "linear" and layer.kernel for layer in layers)
    assert all(graph.chain.map_sizes[-1] is None for graph in graphs)
    assert all(len({layer.activation for layer in graph.chain.layers[:-1]}) <= 1 for graph in graphs)


def test_activations_can_be_mixed_and_limits_are_kept() -> None:
    generator = seeded(1)
    graphs = [random_chain(generator, num_layers=6, mixed=True, max_width=4, kernels=(3,)) for _ in range(20)]
    assert all(len(graph.chain.layers) == 6 for graph in graphs)
    assert any(len({layer.activation for layer in graph.chain.layers[:-1]}) > 1 for graph in graphs)
    assert {layer.out_channels for graph in graphs for layer in graph.chain.layers[:-1]} == {1, 2, 3, 4}
    assert {layer.kernel for graph in graphs for layer in graph.chain.layers if layer.kind == "conv"} == {(3, 3)}


def test_the_generator_decides() -> None:
    assert random_chain(seeded(7)) == random_chain(seeded(7))


def test_bad_wishes_are_refused() -> None:
    with pytest.raises(ZoovetError, match="kind must be 'mlp', 'cnn' or None, got 'rnn'"):
        random_chain(seeded(), kind="rnn")
    with pytest.raises(ZoovetError, match="at least one layer, got num_layers = 0"):
        random_chain(seeded(), num_layers=0)
    with pytest.raises(ZoovetError, match=r"activations must be some of .* got \('rleu',\)"):
        random_chain(seeded(), activations=("rleu",))
    with pytest.raises(ZoovetError, match=r"poolings some of .* got .* \('mean',\)"):
        random_chain(seeded(), poolings=("mean",))
