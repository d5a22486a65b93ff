"""Learned probes: every symmetry respects them, and they do what they say."""

from __future__ import annotations

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMN, ScaleGMNConfig
from zoovet.metanets.probes import Probes
from zoovet.networks import Networks, forward_hidden, mlp, small_cnn
from zoovet.symmetry import assert_equivariant

SHAPE = (1, 9, 9)


def networks_of(activation: str, count: int = 3) -> Networks:
    graph = small_cnn(activation, input_shape=SHAPE, channels=(4, 5), num_classes=3)
    weights = 0.4 * torch.randn(count, graph.num_parameters, generator=torch.Generator().manual_seed(len(activation)))
    return Networks.from_flat(graph, weights)


def config(**options: object) -> ScaleGMNConfig:
    return ScaleGMNConfig(width=6, num_layers=2, input_shape=SHAPE, max_kernel=(3, 3), **options)


def metanetwork(**options: object) -> ScaleGMN:
    return ScaleGMN(config(**options), torch.Generator().manual_seed(0))


def test_edits_with_probes_respect_every_symmetry() -> None:
    assert_equivariant(metanetwork(num_probes=4, output="weights"), [networks_of("relu"), networks_of("tanh")])


def test_probes_see_what_the_networks_do() -> None:
    probes, networks = Probes(5, SHAPE, torch.Generator().manual_seed(0)), networks_of("tanh")
    (features,) = probes([networks])
    logits, hidden = forward_hidden(networks, probes.images())
    assert [tuple(part.shape) for part in features] == [(3, 1, 5), (3, 4, 5), (3, 5, 5), (3, 3, 5)]
    assert float(features[0].abs().max()) == 0
    torch.testing.assert_close(features[1], hidden[0].mean(dim=(-2, -1)).transpose(1, 2))
    torch.testing.assert_close(features[-1], logits.transpose(1, 2))
    assert probes.images().abs().max() <= 1


def test_probes_are_learned_and_drawn_from_the_generator() -> None:
    model = metanetwork(num_probes=4)
    assert torch.equal(model.state_dict()["probes.inputs"], metanetwork(num_probes=4).state_dict()["probes.inputs"])
    model(networks_of("relu")).sum().backward()
    assert model.probes is not None
    assert float(model.probes.inputs.grad.abs().max()) > 0


def test_the_input_shape_is_taken_from_the_networks() -> None:
    graph = networks_of("relu").graph
    assert ScaleGMNConfig(num_probes=2).with_input_shape([graph]).input_shape == SHAPE
    assert ScaleGMNConfig(num_probes=2, input_shape=(4,)).with_input_shape([graph]).input_shape == (4,)
    assert ScaleGMNConfig().with_input_shape([graph, mlp((4, 2))]).input_shape is None


def test_what_does_not_fit_is_refused() -> None:
    other = Networks.from_flat(mlp((4, 2)), torch.zeros(1, 10))
    with pytest.raises(ZoovetError, match=r"probes have the shape \(1, 9, 9\), but the networks read inputs of \(4,\)"):
        metanetwork(num_probes=2)(other)
    with pytest.raises(ZoovetError, match="need to know what networks read; set input_shape"):
        ScaleGMN(ScaleGMNConfig(num_probes=2))
    with pytest.raises(ZoovetError, match=r"of one shape, got \[\(1, 9, 9\), \(4,\)\]"):
        ScaleGMNConfig(num_probes=2).with_input_shape([networks_of("relu").graph, other.graph])
