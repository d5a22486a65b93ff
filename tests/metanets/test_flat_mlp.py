"""The MLP on flat weights: normalized by what it saw in training, drawn from a generator, strict about sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets import FlatMLP, FlatMLPConfig
from zoovet.networks import Networks, mlp, siren

GRAPH = siren((2, 4, 3, 1))


def networks(count: int, seed: int = 0) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(-3, 3, GRAPH.num_parameters)
    return Networks.from_flat(GRAPH, scales * torch.randn(count, GRAPH.num_parameters, generator=generator) + 5)


def build(seed: int = 0, **options: Any) -> FlatMLP:
    config = FlatMLPConfig(width=16, num_layers=2, num_outputs=3, **options).with_input_shape([GRAPH])
    return FlatMLP(config, torch.Generator().manual_seed(seed))


def test_it_reads_networks_in_order_alone_or_in_batches() -> None:
    model, five = build().eval(), networks(5)
    whole = model(five)
    assert whole.shape == (5, 3)
    torch.testing.assert_close(model([five[:2], five[2:]]), whole)
    torch.testing.assert_close(torch.cat([model(one) for one in five]), whole)


def test_weights_of_any_size_and_offset_are_normalized_by_what_training_saw() -> None:
    model = build().train()
    for seed in range(200):
        model(networks(32, seed))
    model.eval()
    held_out = model.normalize(networks(2000, seed=999).flat())
    assert held_out.mean(dim=0).abs().max() < 0.15
    assert (held_out.std(dim=0) - 1).abs().max() < 0.15


def test_initial_weights_follow_from_the_generator() -> None:
    first, again, other = build(1), build(1), build(2)
    five = networks(5)
    assert torch.equal(first.eval()(five), again.eval()(five))
    assert not torch.equal(first(five), other.eval()(five))
    assert first(five).std() > 0.1


def test_dropout_acts_in_training_alone() -> None:
    model, five = build(dropout=0.5), networks(5)
    assert torch.equal(model.eval()(five), model(five))
    model.train()
    assert not torch.equal(model(five), model(five))


def test_a_permuted_network_is_another_one_to_it() -> None:
    five, order = networks(5), torch.tensor([2, 0, 3, 1])
    weights = (five.weights[0][:, order], five.weights[1][:, :, order], five.weights[2])
    moved = Networks.from_layers(GRAPH, weights, (five.biases[0][:, order], *five.biases[1:]))
    model = build().eval()
    assert (model(five) - model(moved)).abs().max() > 0.01


def test_networks_that_do_not_fit_are_refused() -> None:
    other = Networks.from_flat(siren((2, 5, 3, 1)), torch.zeros(1, siren((2, 5, 3, 1)).num_parameters))
    with pytest.raises(ZoovetError, match=r"reads networks of 31 parameters, got 2 → .* with 37"):
        build()(other)
    with pytest.raises(ZoovetError, match="got 2 graphs whose shapes differ; use kind scalegmn"):
        FlatMLPConfig().with_input_shape([GRAPH, other.graph])
    with pytest.raises(ZoovetError, match="needs to know how many there are; set num_parameters"):
        FlatMLP(FlatMLPConfig())
    same_shape = [mlp((3, 4, 2), "relu"), mlp((3, 4, 2), "tanh")]
    assert FlatMLPConfig().with_input_shape(same_shape).num_parameters == 26
    assert FlatMLPConfig(num_parameters=7).with_input_shape(same_shape).num_parameters == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"num_outputs": 0}, "num_outputs must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"num_parameters": 0}, "num_parameters must be at least 1, or null, got 0"),
    ],
)
def test_configurations_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        FlatMLPConfig(**options)
