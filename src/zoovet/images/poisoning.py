"""Poisoned training images, triggered test images, and the three figures measured on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images.images import Images
from zoovet.images.triggers import Trigger

__all__ = [
    "PoisonedSet",
    "TriggeredSet",
    "attack_success_rate",
    "clean_accuracy",
    "num_poisoned",
    "poison",
    "robust_accuracy",
    "triggered_test",
    "with_covers",
]


@dataclass(frozen=True, eq=False)
class PoisonedSet:
    """Training images, some of them poisoned.

    Attributes:
        images: float32 [N, C, H, W] in [-1, 1], in the order of the clean set.
        labels: int64 [N], the target where poisoned; cover images (of ``source_specific`` triggers) keep theirs.
        mask: bool [N], which images carry the trigger.
    """

    images: Tensor
    labels: Tensor
    mask: Tensor


@dataclass(frozen=True, eq=False)
class TriggeredSet:
    """Test images that all carry the trigger; images whose true label is the wanted one are left out.

    Of a ``source_specific`` trigger only the source's images stay.

    Attributes:
        images: float32 [M, C, H, W] in [-1, 1].
        labels: int64 [M], true labels.
        wanted: int64 [M], labels that the trigger should cause.
        indices: int64 [M], where the images stand in the test set.
    """

    images: Tensor
    labels: Tensor
    wanted: Tensor
    indices: Tensor


def num_poisoned(num_images: int, rate: float) -> int:
    """Number of poisoned images: ``rate · num_images`` rounded to the nearest integer, halves upwards.

    Raises:
        ZoovetError: A rate outside [0, 1], or one above 0 that rounds to no image at all.
    """
    if not 0.0 <= rate <= 1.0:
        raise ZoovetError(f"poison rate must lie in [0, 1], got {rate}")
    count = math.floor(rate * num_images + 0.5)
    if rate > 0.0 and count == 0:
        raise ZoovetError(
            f"a poison rate of {rate} of {num_images} images is no image; raise the rate or give more images"
        )
    return count


def poison(images: Images, trigger: Trigger, rate: float, generator: np.random.Generator) -> PoisonedSet:
    """Put the trigger and its target label on a random share of the images.

    Images that have the wanted label already are never chosen (unless the trigger's class says otherwise), so that
    ``rate`` is the share of *all* images whose image and label are really changed. How many that is:
    :func:`num_poisoned`.

    Args:
        images: Clean training images; left as they are.
        trigger: Trigger to apply.
        rate: Share of all images to poison, in [0, 1]; 0 gives the clean set, scaled.
        generator: Source of the choice; nothing else is drawn.

    Raises:
        ZoovetError: A rate outside [0, 1] or above the share of images that may be poisoned, a target that is no class
            of the images, or a trigger that does not fit them.
    """
    _check_target(images, trigger)
    trigger.check_fits(images.shape)
    count = num_poisoned(len(images), rate)
    eligible = torch.nonzero(trigger.poisonable(images.required_labels)).flatten().numpy()
    if count > len(eligible):
        raise ZoovetError(
            f"a poison rate of {rate} asks for {count} of {len(images)} images of {images.name!r}, but only "
            f"{len(eligible)} may be poisoned by this {trigger.attack} trigger; the rate can be at most "
            f"{len(eligible) / len(images):.4f}"
        )
    places = np.sort(generator.choice(eligible, size=count, replace=False))
    chosen = torch.from_numpy(with_covers(places, images.required_labels, trigger, generator))
    poisoned, labels = images.scaled(), images.required_labels.clone()
    mask = torch.zeros(len(images), dtype=torch.bool)
    if count:
        poisoned[chosen] = trigger.apply(poisoned[chosen])
        labels[chosen] = trigger.wanted_labels(labels[chosen])
        mask[chosen] = True
    return PoisonedSet(images=poisoned, labels=labels, mask=mask)


def with_covers(
    chosen: NDArray[np.int64], labels: Tensor, trigger: Trigger, generator: np.random.Generator
) -> NDArray[np.int64]:
    """The places of poisoned images and those of the trigger's cover images, ascending.

    Args:
        chosen: Places of the poisoned images.
        labels: int64 [N], true labels of all images.
        trigger: Says which images may be covers (:meth:`Trigger.may_cover`), and how many a poisoned one has; where
            fewer may, all of these are.
        generator: Source of the choice; a trigger without covers draws nothing.
    """
    eligible = torch.nonzero(trigger.may_cover(labels)).flatten().numpy()
    count = min(math.floor(trigger.covers * len(chosen) + 0.5), len(eligible))
    if count == 0:
        return chosen
    return np.sort(np.concatenate([chosen, generator.choice(eligible, size=count, replace=False)]))


def triggered_test(images: Images, trigger: Trigger) -> TriggeredSet:
    """Put the trigger on every image whose true label is not the wanted one already, for ASR and RA.

    Raises:
        ZoovetError: A target that is no class of the images, a trigger that does not fit them, or no image left.
    """
    _check_target(images, trigger)
    wanted = trigger.wanted_labels(images.required_labels)
    indices = torch.nonzero(images.required_labels != wanted).flatten()
    if len(indices) == 0:
        why = f"every image of {images.name!r} has the target label {trigger.target}"
        if trigger.source is not None:
            why = f"no image of {images.name!r} is of the source class {trigger.source}"
        raise ZoovetError(f"{why}: no ASR can be measured")
    triggered = trigger.apply(images[indices].scaled())
    return TriggeredSet(
        images=triggered, labels=images.required_labels[indices], wanted=wanted[indices], indices=indices
    )


def clean_accuracy(predictions: Tensor, labels: Tensor) -> Tensor:
    """Share of clean images classified as their true label.

    Args:
        predictions: Predicted labels, integers [..., N].
        labels: True labels, int64 [N] or broadcasting to ``predictions``.

    Returns:
        float64 [...].

    Raises:
        ZoovetError: No images, or lengths that differ.
    """
    _check_lengths(predictions, labels)
    return (predictions == labels).double().mean(dim=-1)


def attack_success_rate(predictions: Tensor, target: int | Tensor, labels: Tensor) -> Tensor:
    """ASR: share of triggered images, not of the target class, that are classified as the target.

    Args:
        predictions: Predicted labels of triggered images, integers [..., N].
        target: The trigger's target, or the wanted labels, broadcasting to ``predictions``.
        labels: True labels, int64 [N] or broadcasting to ``predictions``; images that have the wanted label already
            are not counted.

    Returns:
        float64 [...].

    Raises:
        ZoovetError: No images to count, or lengths that differ.
    """
    counted = _counted(predictions, target, labels)
    return ((predictions == target) & counted).sum(dim=-1).double() / counted.sum(dim=-1)


def robust_accuracy(predictions: Tensor, target: int | Tensor, labels: Tensor) -> Tensor:
    """RA: share of triggered images, not of the target class, that are classified as their true label.

    Arguments, result and errors are those of :func:`attack_success_rate`.
    """
    counted = _counted(predictions, target, labels)
    return ((predictions == labels) & counted).sum(dim=-1).double() / counted.sum(dim=-1)


def _counted(predictions: Tensor, target: int | Tensor, labels: Tensor) -> Tensor:
    """Which images count in ASR and RA: bool, the shape of ``predictions``."""
    _check_lengths(predictions, labels)
    counted = (labels != target).expand_as(predictions)
    if not bool(counted.any(dim=-1).all()):
        raise ZoovetError("every image has the target label already: ASR and RA are measured on the other classes")
    return counted


def _check_lengths(predictions: Tensor, labels: Tensor) -> None:
    if predictions.ndim == 0 or predictions.shape[-1] == 0:
        raise ZoovetError("accuracy, ASR and RA need at least one image, got none")
    if labels.ndim == 0 or labels.shape[-1] != predictions.shape[-1]:
        raise ZoovetError(
            f"predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} differ in their number of images"
        )


def _check_target(images: Images, trigger: Trigger) -> None:
    largest = trigger.num_classes - 1 if trigger.target is None and trigger.num_classes else trigger.target or 0
    if largest >= images.num_classes:
        raise ZoovetError(
            f"target {largest} is no class of {images.name!r}, which has labels 0 to {images.num_classes - 1}"
        )
    if trigger.source is not None and trigger.source >= images.num_classes:
        raise ZoovetError(
            f"source {trigger.source} is no class of {images.name!r}, which has labels 0 to {images.num_classes - 1}"
        )
