"""Random networks hold the zeros that cause trouble."""

from __future__ import annotations

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks.chains import mlp, small_cnn
from zoovet.networks.run import run
from zoovet.symmetry import random_chain, random_graph, random_networks


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_generator_decides() -> None:
    graph = small_cnn()
    assert torch.equal(random_networks(graph, 2, seeded(7)).flat(), random_networks(graph, 2, seeded(7)).flat())
    assert not torch.equal(random_networks(graph, 2, seeded(7)).flat(), random_networks(graph, 2, seeded(8)).flat())


def test_random_networks_hold_zeros_of_every_kind() -> None:
    networks = random_networks(small_cnn(), 40, seeded(), zero_fraction=0.1)
    weight, bias = networks.weights[1], networks.biases[1]
    empty_kernels = (weight == 0).flatten(3).all(dim=3)
    dead = empty_kernels.all(dim=2)
    unread = (networks.weights[2] == 0).flatten(3).all(dim=3).all(dim=1)
    assert 0.05 < float(dead.double().mean()) < 0.15
    assert bool((bias[dead] == 0).all())
    assert 0.05 < float(unread.double().mean()) < 0.15
    assert 0.05 < float((bias[~dead] == 0).double().mean()) < 0.15
    some = weight[~empty_kernels]
    assert 0.05 < float((some == 0).double().mean()) < 0.15


def test_without_zeros_there_are_none() -> None:
    networks = random_networks(small_cnn("tanh"), 3, seeded(), zero_fraction=0.0, dtype=torch.float32)
    assert networks.dtype == torch.float32
    assert bool((networks.flat() != 0).all())


def test_signals_neither_vanish_nor_explode() -> None:
    for seed in range(20):
        generator = seeded(seed)
        graph = random_chain(generator, num_layers=6, max_width=20)
        networks = random_networks(graph, 4, generator, zero_fraction=0.0)
        images = torch.randn(4, *graph.input_shape, generator=generator, dtype=torch.float64)
        size = float(run(networks, images).abs().max())
        assert 1e-3 < size < 1e3


def test_variances_and_factors_of_norms_are_positive() -> None:
    for seed in range(10):
        graph = random_graph(seeded(seed), blocks=("residual", "attention", "squeeze"))
        networks = random_networks(graph, 3, seeded(seed))
        for operation in graph.operations:
            for role, name in operation.parameters.items():
                if role == "running_var" or (role == "weight" and operation.op.endswith("norm")):
                    assert float(networks.parameters[name].min()) >= 0.5
                    assert float(networks.parameters[name].max()) <= 1.5


def test_bad_wishes_are_refused() -> None:
    with pytest.raises(ZoovetError, match=r"zero_fraction must lie in \[0, 1\], got 1.5"):
        random_networks(mlp((2, 2)), 1, seeded(), zero_fraction=1.5)
