"""Rivals of healing: clean answers stay, what each of them is for goes, a seed settles all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.healing import Editable, FloatingWeights
from zoovet.rivals.any_network import (
    AttentionDistillation,
    ChannelLipschitzness,
    FineTuning,
    Healer,
    ImplicitUnlearning,
    NeuronPruning,
    SharedAdversarialUnlearning,
    SharpnessAware,
)

Share = Callable[[FloatingWeights], float]

HEALERS: tuple[Healer, ...] = (
    FineTuning(num_steps=5),
    SharpnessAware(num_steps=5, radius=0.1),
    AttentionDistillation(num_steps=5, weight=1.0),
    ImplicitUnlearning(num_steps=5),
    SharedAdversarialUnlearning(num_steps=5),
    NeuronPruning(num_steps=5),
    ChannelLipschitzness(),
)


@pytest.fixture
def asr(editable: Editable, triggered: Tensor) -> Share:
    return lambda weights: float((editable.logits(weights, triggered).argmax(1) == 2).double().mean())


@pytest.mark.parametrize("healer", HEALERS, ids=lambda healer: type(healer).__name__)
def test_clean_answers_stay_and_a_seed_settles_all(
    healer: Healer, editable: Editable, images: Tensor, labels: Tensor
) -> None:
    own = {name: tensor.clone() for name, tensor in editable.weights.items()}
    made = [healer.heal(editable, images, labels) for _ in range(2)]
    assert {name: tensor.shape for name, tensor in made[0].items()} == {name: one.shape for name, one in own.items()}
    assert all(torch.equal(made[0][name], tensor) for name, tensor in made[1].items())
    assert all(torch.equal(editable.weights[name], tensor) for name, tensor in own.items())
    assert float((editable.logits(made[0], images).argmax(1) == labels).double().mean()) > 0.9


def test_fine_tuning_goes_down_the_loss(editable: Editable, images: Tensor, labels: Tensor) -> None:
    losses = [
        float(torch.nn.functional.cross_entropy(editable.logits(weights, images), labels))
        for weights in (editable.weights, FineTuning(num_steps=30).heal(editable, images, labels))
    ]
    assert losses[1] < 0.9 * losses[0]


def test_without_a_radius_sharpness_is_nothing(editable: Editable, images: Tensor, labels: Tensor) -> None:
    flat = SharpnessAware(num_steps=3, radius=0.0).heal(editable, images, labels)
    plain = FineTuning(num_steps=3).heal(editable, images, labels)
    other = SharpnessAware(num_steps=3, radius=1.0).heal(editable, images, labels)
    assert all(torch.allclose(flat[name], tensor, atol=1e-6) for name, tensor in plain.items())
    assert any(not torch.allclose(other[name], tensor, atol=1e-4) for name, tensor in plain.items())


def test_lipschitz_bounds_prune_the_channel_that_stands_out(
    editable: Editable, images: Tensor, labels: Tensor, asr: Share
) -> None:
    healed = ChannelLipschitzness(threshold=1.0).heal(editable, images, labels)
    assert asr(editable.weights) == 1
    assert asr(healed) < 0.2
    assert not bool(healed["1.weight"][2])
    assert bool(healed["1.weight"][:2].all())
    with pytest.raises(ZoovetError, match="threshold must be above 0"):
        ChannelLipschitzness(threshold=0.0)


def test_a_mask_prunes_what_changes_of_weights_hurt(editable: Editable, images: Tensor, labels: Tensor) -> None:
    healed = NeuronPruning(num_steps=10, threshold=2.0).heal(editable, images, labels)
    assert not bool(healed["1.weight"].any())  # all masks are below
    kept = NeuronPruning(num_steps=10, threshold=-1.0).heal(editable, images, labels)
    assert all(torch.equal(kept[name], own) for name, own in editable.weights.items())


@pytest.mark.parametrize(
    "healer", [ImplicitUnlearning(num_steps=40, rate=0.01), SharedAdversarialUnlearning(num_steps=40, rate=0.05)]
)
def test_adversarial_changes_are_unlearned(healer: Healer, editable: Editable, images: Tensor, labels: Tensor) -> None:
    healed = healer.heal(editable, images, labels)

    def misled(weights: FloatingWeights) -> float:
        shown = images.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(editable.logits(weights, shown), labels)
        (up,) = torch.autograd.grad(loss, shown)
        moved = (images + 0.2 * up.sign()).clamp(-1, 1)
        return float(torch.nn.functional.cross_entropy(editable.logits(weights, moved), labels))

    assert misled(healed) < misled(editable.weights)


def test_attention_needs_sites(editable: Editable, images: Tensor, labels: Tensor) -> None:
    class Blind:
        def logits(self, shown: Tensor) -> Tensor:
            return editable.logits(editable.weights, shown)[None]

    blind = Editable(weights={"w": torch.zeros(1)}, with_weights=lambda _: Blind())
    for healer in (AttentionDistillation(num_steps=1), ChannelLipschitzness()):
        with pytest.raises(ZoovetError, match="this network's"):
            healer.heal(blind, images, labels)
