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
        triggered: The same on images with the network's own trigger.
        kept: Kullback-Leibler divergence of the answers on clean images after the edit from those before it.
    """

    clean: Tensor
    triggered: Tensor
    kept: Tensor


def function_losses(
    own: Networks,
    edited: Networks,
    triggers: Sequence[Trigger | None],
    pool: ImagePool,
    num_images: tuple[int, int],
    generator: torch.Generator,
) -> FunctionLoss:
    """Run edited networks on fresh training images.

    Args:
        own: B networks of one spec before the edit.
        edited: The same after it; gradients flow into them.
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
    after = logits[:, :num_clean].log_softmax(dim=2)
    kept = functional.kl_div(after, before, reduction="none", log_target=True).sum(dim=2).mean(dim=1)
    return FunctionLoss(losses[:, :num_clean].mean(dim=1), losses[:, num_clean:].mean(dim=1), kept)


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
