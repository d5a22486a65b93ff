"""Losses of an edit, one number a network: in function space on training images, or in weight space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.images import Trigger
from zoovet.networks import Networks, on_kept_images, run

__all__ = ["FunctionLoss", "function_losses", "weight_losses"]

_SMALLEST_SQUARE = 1e-12

_STEEPNESS = 3.0
"""Of the smooth error rate: how fast it falls from 1 to 0 as the true label's logit passes the greatest other one."""


@dataclass(frozen=True, eq=False)
class FunctionLoss:
    """Parts of the loss in function space, each [B].

    Attributes:
        clean: Cross-entropy to the true labels on clean images.
        told: Cross-entropy to the healthy sibling's answers on clean images.
        wrong: Smooth error rate on clean images: the mean of σ(3 · (the greatest other logit − the true label's)).
            Unlike the cross-entropy it asks little of images that are right already, or far from it.
        triggered: Cross-entropy to the true labels on images with the network's own trigger.
        triggered_told: Cross-entropy to the healthy sibling's answers on those images.
        attacked: −log(1 − p) on those images, where p is the probability of the label that the trigger should cause;
            the mean over images that have another true label, and 0 for networks without a trigger.
        kept: Kullback-Leibler divergence of the answers on clean images after the edit from those before it.
    """

    clean: Tensor
    told: Tensor
    wrong: Tensor
    triggered: Tensor
    triggered_told: Tensor
    attacked: Tensor
    kept: Tensor

    @classmethod
    def concatenate(cls, parts: Sequence[FunctionLoss]) -> FunctionLoss:
        """The losses of several batches after one another."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def function_losses(
    own: Networks,
    edited: Networks,
    siblings: Networks,
    triggers: Sequence[Trigger | None],
    images: tuple[Tensor, Tensor],
    num_clean: int,
) -> FunctionLoss:
    """Run edited networks on training images.

    Args:
        own: B networks of one graph before the edit.
        edited: The same after it; gradients flow into them.
        siblings: [B] the healthy sibling of each, or itself.
        triggers: [B] each network's own; without one its triggered images are clean too.
        images: [B, n, C, H, W] in [-1, 1], for each network its own, and their labels [B, n].
        num_clean: How many of them stay clean; the others get the trigger.
    """
    own, edited, siblings = map(on_kept_images, (own, edited, siblings))
    drawn, labels = images
    clean_images, rest = drawn[:, :num_clean], drawn[:, num_clean:]
    triggered = torch.stack(
        [image if trigger is None else trigger.apply(image) for trigger, image in zip(triggers, rest, strict=True)]
    )
    both = torch.cat([clean_images, triggered], dim=1)
    logits = run(edited, both)
    after = logits.log_softmax(dim=2)
    with torch.no_grad():
        before = run(own, clean_images).log_softmax(dim=2)
        healthy = run(siblings, both).softmax(dim=2)
    to_labels = -after.gather(2, labels.unsqueeze(2)).squeeze(2)
    to_siblings = -(healthy * after).sum(dim=2)
    kept = functional.kl_div(after[:, :num_clean], before, reduction="none", log_target=True).sum(dim=2)
    attacked = _attack_losses(logits[:, num_clean:], labels[:, num_clean:], triggers)
    return FunctionLoss(
        clean=to_labels[:, :num_clean].mean(dim=1),
        told=to_siblings[:, :num_clean].mean(dim=1),
        wrong=_smooth_error_rates(logits[:, :num_clean], labels[:, :num_clean]),
        triggered=to_labels[:, num_clean:].mean(dim=1),
        triggered_told=to_siblings[:, num_clean:].mean(dim=1),
        attacked=attacked,
        kept=kept.mean(dim=1),
    )


def _smooth_error_rates(logits: Tensor, labels: Tensor) -> Tensor:
    """[B]: the mean over images of σ(steepness · (the greatest other logit − the true label's)).

    Args:
        logits: [B, n, classes].
        labels: int64 [B, n].
    """
    is_true = functional.one_hot(labels, logits.shape[2]).bool()
    others = logits.masked_fill(is_true, -torch.inf).amax(dim=2)
    return torch.sigmoid(_STEEPNESS * (others - logits.gather(2, labels.unsqueeze(2)).squeeze(2))).mean(dim=1)


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
