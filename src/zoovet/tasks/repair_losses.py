"""Losses of an edit, one number a network: in function space on training images, or in weight space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.images import Trigger
from zoovet.networks import Networks, forward
from zoovet.tasks.image_pool import ImagePool

__all__ = ["FunctionLoss", "function_losses", "weight_losses"]

_SMALLEST_SQUARE = 1e-12


@dataclass(frozen=True, eq=False)
class FunctionLoss:
    """Parts of the loss in function space, each [B].

    Attributes:
        clean: Cross-entropy to the true labels on clean images.
        told: Cross-entropy to the healthy sibling's answers on clean images.
        triggered: Cross-entropy to the true labels on images with the network's own trigger.
        attacked: −log(1 − p) on those images, where p is the probability of the label that the trigger should cause;
            the mean over images that have another true label, and 0 for networks without a trigger.
        kept: Kullback-Leibler divergence of the answers on clean images after the edit from those before it.
    """

    clean: Tensor
    told: Tensor
    triggered: Tensor
    attacked: Tensor
    kept: Tensor


def function_losses(
    own: Networks,
    edited: Networks,
    siblings: Networks,
    triggers: Sequence[Trigger | None],
    pool: ImagePool,
    num_images: tuple[int, int],
    generator: torch.Generator,
) -> FunctionLoss:
    """Run edited networks on fresh training images.

    Args:
        own: B networks of one spec before the edit.
        edited: The same after it; gradients flow into them.
        siblings: [B] the healthy sibling of each, or itself.
        triggers: [B] each network's own; without one its triggered images are clean too.
        pool: Images to draw from, with replacement, for each network its own.
        num_images: How many clean and how many triggered images a network gets.
        generator: Of the draws.
    """
    num_clean, num_triggered = num_images
    images, labels = pool.draw(len(own), num_clean + num_triggered, generator)
    clean_images, rest = images[:, :num_clean], images[:, num_clean:]
    triggered = torch.stack(
        [image if trigger is None else trigger.apply(image) for trigger, image in zip(triggers, rest, strict=True)]
    )
    logits = forward(edited, torch.cat([clean_images, triggered], dim=1))
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").reshape(labels.shape)
    with torch.no_grad():
        before = forward(own, clean_images).log_softmax(dim=2)
        healthy = forward(siblings, clean_images).softmax(dim=2)
    after = logits[:, :num_clean].log_softmax(dim=2)
    kept = functional.kl_div(after, before, reduction="none", log_target=True).sum(dim=2).mean(dim=1)
    attacked = _attack_losses(logits[:, num_clean:], labels[:, num_clean:], triggers)
    return FunctionLoss(
        clean=losses[:, :num_clean].mean(dim=1),
        told=-(healthy * after).sum(dim=2).mean(dim=1),
        triggered=losses[:, num_clean:].mean(dim=1),
        attacked=attacked,
        kept=kept,
    )


def _attack_losses(logits: Tensor, labels: Tensor, triggers: Sequence[Trigger | None]) -> Tensor:
    """−log(1 − p) of the label that each network's trigger should cause: [B].

    Args:
        logits: [B, n, classes] on triggered images.
        labels: int64 [B, n], true ones.
        triggers: [B].
    """
    pairs = zip(triggers, labels, strict=True)
    wanted = torch.stack([own if trigger is None else trigger.wanted_labels(own) for trigger, own in pairs])
    counted = (wanted != labels).to(logits.dtype)
    is_wanted = functional.one_hot(wanted, logits.shape[2]).bool()
    losses = logits.logsumexp(dim=2) - logits.masked_fill(is_wanted, -torch.inf).logsumexp(dim=2)
    return (losses * counted).sum(dim=1) / counted.sum(dim=1).clamp_min(1.0)


def weight_losses(own: Networks, edited: Networks, wanted: Networks) -> Tensor:
    """Squared distance of edited from wanted weights, relative to each layer's own square: [B], the mean over layers.

    A layer's weight and bias count together.
    """
    tensors = zip(own.weights, own.biases, edited.weights, edited.biases, wanted.weights, wanted.biases, strict=True)
    losses = []
    for own_weight, own_bias, edited_weight, edited_bias, wanted_weight, wanted_bias in tensors:
        error = _square(edited_weight - wanted_weight) + _square(edited_bias - wanted_bias)
        losses.append(error / (_square(own_weight) + _square(own_bias)).clamp_min(_SMALLEST_SQUARE))
    return torch.stack(losses).mean(dim=0)


def _square(values: Tensor) -> Tensor:
    return values.flatten(1).square().sum(dim=1)
