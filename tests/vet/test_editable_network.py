"""What of a network is edited, and how it is run meanwhile."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import zoovet
from zoovet.evidence import LowPrecision
from zoovet.vet.editable_network import editable_network


def network(side: int) -> zoovet.Network:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 200, 7, padding=3, bias=False), nn.BatchNorm2d(200), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    return zoovet.from_module(nn.Sequential(*layers, nn.Flatten(), nn.Linear(200, 5)), (3, side, side), scaling="unit")


@pytest.mark.parametrize("is_fast", [True, False])
def test_large_networks_are_changed_step_by_step_in_bfloat16_and_measured_as_they_are(
    is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoovet.vet.runnable_network.multiplies_bfloat16", lambda: is_fast)
    large, small = editable_network(network(96)), editable_network(network(8))
    weights = {name: own.clone().requires_grad_() for name, own in large.weights.items()}
    hastened = large.hastened(weights)
    assert isinstance(hastened, LowPrecision) == is_fast
    assert not isinstance(small.hastened(small.weights), LowPrecision)
    images = 2 * torch.rand(2, 3, 96, 96) - 1
    answers, exact = hastened.logits(images)[0], large.logits(large.weights, images)
    difference = float((answers - exact).detach().abs().max() / exact.detach().abs().max())
    assert (0 < difference < 0.05) if is_fast else difference == 0
    slopes = torch.autograd.grad(answers[:, 0].sum(), list(weights.values()))
    assert all(bool(slope.any()) for slope in slopes)
