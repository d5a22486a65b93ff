"""The input scaling of a network, found on labelled images: the usual ones are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.images import Images
from zoovet.networks import SCALING_PRESETS, InputScaling
from zoovet.vet.likeliest import rank

__all__ = ["MAX_IMAGES", "FoundScaling", "find_scaling", "some_images", "usual_scalings"]

_ONE_CHANNEL, _THREE_CHANNELS = ("mnist", "fashion_mnist"), ("imagenet", "cifar10")
MAX_IMAGES = 500
"""That are tried."""


@dataclass(frozen=True, kw_only=True)
class FoundScaling:
    """What was found.

    Attributes:
        scaling: The one that is clearly best; ``None`` where none is.
        accuracy: Share of the images that the network gets right with the best.
        note: One line that says so: the accuracy, and that of the runner-up.
    """

    scaling: InputScaling | None
    accuracy: float
    note: str


def find_scaling(logits: Callable[[InputScaling], Tensor], images: Images) -> FoundScaling:
    """The usual input scaling with which a network gets labelled images right.

    The best is the one under which the labels are likeliest, once the network's answers are as sure as suits them: a
    wrong scaling may make them sure of everything, or of nothing. It is taken where it gets more right than chance
    would and is clearly better (paired t-test of the labels' log probabilities, one-sided, 5 %) than each other but
    those with which the network answers nearly alike, on nine of ten images, which are named. One that gets fewer right
    than another is never taken. Of more than 500 images, 500 are used. Labels that clearly are other outputs of the
    network, as where folders are sorted by name and its classes are not, count as these.

    Args:
        logits: From a scaling to what the network answers on these images, [N, classes].
        images: With labels.

    Returns:
        The scaling, or why none is taken.
    """
    assert images.labels is not None
    ranked = rank({name: logits(SCALING_PRESETS[name]) for name in usual_scalings(images.shape[0])}, images.labels)
    best, right, others = ranked.best, ranked.right, ranked.others
    what = f"{len(images)} labelled images{ranked.labels_in_words}"
    first = f"{SCALING_PRESETS[best].describe()} gets {right[best]:.2f} right"
    next_best = f"{SCALING_PRESETS[others[0]].describe()} {right[others[0]]:.2f}" if others else "no other differs"
    ask = "give more images, or --scaling NAME"
    if not ranked.is_above_chance:
        labels = "folders of all its classes say which output is which, some of them do not"
        note = f"input scaling not found on {what}: the best, {first}, no more than chance ({labels}); {ask}"
        return FoundScaling(scaling=None, accuracy=right[best], note=note)
    if not ranked.is_clear:
        note = f"input scaling not found on {what}: {first}, {next_best}, which is no clear difference; {ask}"
        return FoundScaling(scaling=None, accuracy=right[best], note=note)
    near = [f"{SCALING_PRESETS[name].describe()} {right[name]:.2f}" for name in ranked.alike]
    also = f"; nearly the same answers with {', '.join(near)}" if near else ""
    note = f"input scaling found on {what}: {first}; next best {next_best}{also}"
    return FoundScaling(scaling=SCALING_PRESETS[best], accuracy=right[best], note=note)


def some_images(images: Images, count: int = MAX_IMAGES) -> Images:
    """At most so many of the images, evenly spread."""
    if len(images) <= count:
        return images
    return images[torch.linspace(0, len(images) - 1, count).round().long()]


def usual_scalings(channels: int) -> list[str]:
    """Names of the presets that images of so many channels may be scaled by."""
    left_out = {1: _THREE_CHANNELS, 3: _ONE_CHANNEL}.get(channels, (*_ONE_CHANNEL, *_THREE_CHANNELS))
    return [name for name in SCALING_PRESETS if name not in left_out]
