"""What may be edited in a network, and the network with other weights."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.healing import Editable


def test_statistics_of_batch_norms_are_not_edited(editable: Editable) -> None:
    assert sorted(editable.weights) == ["1.bias", "1.weight", "2.bias", "2.weight", "4.bias", "4.weight"]


def test_the_network_with_other_weights_is_differentiable(editable: Editable, images: Tensor) -> None:
    weights = {name: own.clone().requires_grad_() for name, own in editable.weights.items()}
    logits = editable.logits(weights, images)
    assert torch.equal(logits, editable.logits(editable.weights, images))
    logits.square().sum().backward()
    assert all(own.grad is not None and bool(own.grad.any()) for own in weights.values())


def test_weights_between_are_on_the_line(editable: Editable) -> None:
    edited = {name: own + 2 for name, own in editable.weights.items()}
    half = editable.between(edited, 0.5)
    for name, own in editable.weights.items():
        assert torch.allclose(half[name], own + 1)
