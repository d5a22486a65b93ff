"""Random specs cover what they promise; random networks hold the zeros that cause trouble."""

from __future__ import annotations

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks.chains import mlp, small_cnn
from zoovet.networks.run import run
from zoovet.symmetry import random_networks, random_spec


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_random_specs_cover_the_space() -> None:
    generator = seeded()
    specs = [random_spec(generator) for _ in range(400)]
    layers = [layer for spec in specs for layer in spec.chain.layers]
    hidden = [layer for spec in specs for layer in spec.chain.layers[:-1]]
    assert {len(spec.chain.layers) for spec in specs} == {1, 2, 3, 4, 5, 6}
    assert {layer.out_channels for layer in hidden} == set(range(1, 41))
    assert {spec.num_outputs for spec in specs} == set(range(1, 13))
    assert {layer.kernel for layer in layers if layer.kind == "conv"} == {(1, 1), (3, 3), (5, 5), (7, 7)}
    assert {layer.activation for layer in hidden} == {"relu", "leaky_relu", "tanh", "sine"}
    assert {layer.pool.kind if layer.pool else None for layer in hidden} == {None, "average", "max", "global"}
    assert {layer.stride for layer in layers} == {(1, 1), (2, 2)}
    assert {layer.dilation for layer in layers} == {(1, 1), (2, 2)}
    assert any(layer.kind == "linear" and layer.kernel for layer in layers)
    assert all(spec.chain.map_sizes[-1] is None for spec in specs)
    assert all(len({layer.activation for layer in spec.chain.layers[:-1]}) <= 1 for spec in specs)


def test_activations_can_be_mixed_and_limits_are_kept() -> None:
    generator = seeded(1)
    specs = [random_spec(generator, num_layers=6, mixed=True, max_width=4, kernels=(3,)) for _ in range(20)]
    assert all(len(spec.chain.layers) == 6 for spec in specs)
    assert any(len({layer.activation for layer in spec.chain.layers[:-1]}) > 1 for spec in specs)
    assert {layer.out_channels for spec in specs for layer in spec.chain.layers[:-1]} == {1, 2, 3, 4}
    assert {layer.kernel for spec in specs for layer in spec.chain.layers if layer.kind == "conv"} == {(3, 3)}


def test_the_generator_decides() -> None:
    assert random_spec(seeded(7)) == random_spec(seeded(7))
    spec = small_cnn()
    assert torch.equal(random_networks(spec, 2, seeded(7)).flat(), random_networks(spec, 2, seeded(7)).flat())
    assert not torch.equal(random_networks(spec, 2, seeded(7)).flat(), random_networks(spec, 2, seeded(8)).flat())


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
        spec = random_spec(generator, num_layers=6, max_width=20)
        networks = random_networks(spec, 4, generator, zero_fraction=0.0)
        images = torch.randn(4, *spec.input_shape, generator=generator, dtype=torch.float64)
        size = float(run(networks, images).abs().max())
        assert 1e-3 < size < 1e3


def test_bad_wishes_are_refused() -> None:
    with pytest.raises(ZoovetError, match="kind must be 'mlp', 'cnn' or None, got 'rnn'"):
        random_spec(seeded(), kind="rnn")
    with pytest.raises(ZoovetError, match="at least one layer, got num_layers = 0"):
        random_spec(seeded(), num_layers=0)
    with pytest.raises(ZoovetError, match=r"activations must be some of .* got \('rleu',\)"):
        random_spec(seeded(), activations=("rleu",))
    with pytest.raises(ZoovetError, match=r"poolings some of .* got .* \('mean',\)"):
        random_spec(seeded(), poolings=("mean",))
    with pytest.raises(ZoovetError, match=r"zero_fraction must lie in \[0, 1\], got 1.5"):
        random_networks(mlp((2, 2)), 1, seeded(), zero_fraction=1.5)
