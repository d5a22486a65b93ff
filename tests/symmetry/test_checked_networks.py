"""Networks of graphs are checked by what their graph allows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.run import run
from zoovet.symmetry import (
    Action,
    assert_equivariant,
    assert_invariant,
    checked_networks,
    graph_symmetry,
    random_graph,
    random_networks,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_networks_of_graphs_are_checked_as_well() -> None:
    generator = seeded(2)
    graph = random_graph(generator, blocks=("residual", "pre_activation"), num_blocks=2)
    networks = random_networks(graph, 2, generator)
    images = torch.randn(3, *graph.input_shape, generator=generator, dtype=torch.float64)

    def answers(given: Networks) -> Tensor:
        return run(given, images).flatten(1)

    def sizes(given: Networks) -> Tensor:
        return torch.stack([tensor.abs().flatten(1).sum(1) for tensor in given.parameters.values()], dim=1)

    assert_invariant(answers, networks)
    assert_invariant(sizes, networks, symmetry="permutation")
    with pytest.raises(AssertionError, match=f"scalings break it.*Worst: the graph {graph.graph_id}"):
        assert_invariant(sizes, networks)
    assert_equivariant(lambda given: given.map(lambda tensor: 0.1 * tensor), networks)
    with pytest.raises(AssertionError, match="scalings break it"):
        assert_equivariant(lambda given: given.map(torch.tanh), networks)
    with pytest.raises(AssertionError, match="permutations"):
        assert_equivariant(lambda given: given.map(lambda tensor: tensor.cumsum(1)), networks)
    with pytest.raises(ZoovetError, match=r"changes must be of 2 networks the graph .*, got 1 of"):
        assert_equivariant(lambda given: given[:1], networks)


def test_the_symmetry_that_a_graph_as_a_whole_has() -> None:
    generator = seeded(0)
    while True:  # a graph of which some channels have signs only, and others any scalars
        graph = random_graph(generator)
        symmetry = graph_symmetry(graph)
        if len(set(symmetry.allowed.tolist())) > 2:
            break
    networks = random_networks(graph, 1, generator)
    shared = checked_networks.draw_action(networks, generator, "network", 1.0)
    alone = checked_networks.draw_action(networks, generator, "permutation", 1.0)
    assert isinstance(shared, Action)
    assert isinstance(alone, Action)
    free = symmetry.moves[symmetry.representatives] | (symmetry.allowed != 0)
    common = int(np.bitwise_and.reduce(symmetry.allowed[free]))
    assert not (shared.symmetry.allowed & ~np.uint8(common)).any()
    assert bool((alone.scalars == 1).all())
    assert not checked_networks.has_scalars(networks, "permutation")
