"""A change of units that every symmetry survives: measured, applied to what goes in, undone on what comes out."""

from __future__ import annotations

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets import LayerUnits, ScaleGMN, ScaleGMNConfig
from zoovet.networks import Networks, mlp, siren
from zoovet.symmetry import assert_equivariant, assert_invariant

GRAPH = siren((2, 4, 3, 1))


def networks(count: int = 5) -> Networks:
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(count, GRAPH.num_parameters, generator=generator)
    own = Networks.from_flat(GRAPH, flat)
    return Networks.from_layers(GRAPH, (own.weights[0] * 9, own.weights[1] * 0.01, own.weights[2]), own.biases)


def model(output: str, num_layers: int = 3) -> LayerUnits:
    config = ScaleGMNConfig(width=8, num_layers=2, output=output, out_scale=1.0)
    return LayerUnits(ScaleGMN(config, torch.Generator().manual_seed(0)), num_layers).eval()


def test_units_are_root_mean_squares_over_all_networks() -> None:
    wrapped, own, other = model("graph"), networks(), Networks.from_flat(mlp((3, 2)), torch.full((2, 8), 2.0))
    assert torch.equal(wrapped.units, torch.ones(3, 2))
    wrapped.measure([own, other])
    squares = torch.cat([own.weights[0].flatten(), other.weights[0].flatten()]).square()
    torch.testing.assert_close(wrapped.units[0, 0], squares.mean().sqrt())
    torch.testing.assert_close(wrapped.units[1, 0], own.weights[1].square().mean().sqrt())
    torch.testing.assert_close(wrapped.units[2, 1], own.biases[2].square().mean().sqrt())
    wrapped.measure([Networks.from_flat(GRAPH, torch.zeros(1, GRAPH.num_parameters))])
    assert torch.equal(wrapped.units, torch.ones(3, 2))


def test_networks_go_in_and_changes_come_out_in_units() -> None:
    own = networks()
    for output in ("graph", "weights"):
        wrapped = model(output)
        wrapped.measure([own])
        weight, bias = wrapped.units[:, 0], wrapped.units[:, 1]
        scaled = Networks.from_layers(
            GRAPH,
            tuple(tensor / weight[layer] for layer, tensor in enumerate(own.weights)),
            tuple(tensor / bias[layer] for layer, tensor in enumerate(own.biases)),
        )
        inside, outside = wrapped.metanetwork(scaled), wrapped(own)
        if output == "graph":
            assert torch.equal(inside, outside)
            continue
        assert torch.equal(outside.flat(), wrapped([own])[0].flat())
        for layer in range(3):
            torch.testing.assert_close(outside.weights[layer], inside.weights[layer] * weight[layer])
            torch.testing.assert_close(outside.biases[layer], inside.biases[layer] * bias[layer])


def test_symmetries_stay() -> None:
    own = networks()
    for output, check in (("graph", assert_invariant), ("weights", assert_equivariant)):
        wrapped = model(output)
        wrapped.measure([own])
        check(wrapped.double(), own.to(dtype=torch.float64))


def test_deeper_networks_than_units_are_refused() -> None:
    with pytest.raises(ZoovetError, match=r"units are known for 2 layers, got 3: 2 → linear 4 sine"):
        model("graph", num_layers=2)(networks())
