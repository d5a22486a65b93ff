"""Searches in stages: at many places, or from many stripes, for a step on few images; from the best ones to the end."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.evidence.answers import striped
from zoovet.evidence.class_search import Course, Seekers, halved
from zoovet.evidence.trigger_families import Patches, Waves, places_of

__all__ = ["raised_by_stripes", "sought_patches", "sought_waves"]


def sought_patches(
    few: Seekers,
    some: Seekers,
    size: int,
    classes: Tensor,
    *,
    num_places: int,
    num_trial_steps: int,
    num_steps: int,
    keep: tuple[int, int],
) -> Course:
    """Patches at every place on few images, at the best few on more, at the best of these to the end.

    Args:
        few: Few images.
        some: More of them.
        size: Side of a patch in pixels.
        classes: int64 [classes], towards which.
        num_places: Places along each side of the image.
        num_trial_steps: Steps before each choice.
        num_steps: Steps of what is left.
        keep: How many places of each class the first choice leaves, and the second.

    Returns:
        As many searches of each class as the second choice leaves, side by side.
    """
    places = places_of(size, few.network.input_shape, num_places).to(classes.device)
    count = len(classes)
    family = Patches(size, places.repeat(count, 1))
    course = few.seek(family, classes.repeat_interleave(len(places)), num_trial_steps)
    course = halved(course, count, keep[0])
    course = halved(some.seek(course.family, course.classes, num_trial_steps, course.triggers), count, keep[1])
    return some.seek(course.family, course.classes, num_steps, course.triggers)


def raised_by_stripes(seekers: Seekers, classes: Tensor, *, num_stripes: int, seed: int, amplitude: float) -> Tensor:
    """How near sinusoidal stripes over the images bring each of the classes (int64 [classes]): [stripes, classes]."""
    shown = striped(seekers.images, num_stripes=num_stripes, seed=seed, amplitude=amplitude)
    return torch.stack([seekers.nearness(images, classes) for images in shown])


def sought_waves(
    some: Seekers,
    raised: Tensor,
    classes: Tensor,
    *,
    seed: int,
    amplitude: float,
    num_steps: int,
    keep: tuple[int, int],
) -> Course:
    """From those stripes that raise each class most: the first few for one step, the best of these to the end.

    Args:
        some: Images.
        raised: Of :func:`raised_by_stripes`, with the same seed.
        classes: int64 [classes], towards which.
        seed: Of the stripes.
        amplitude: Of the stripes.
        num_steps: Steps of what is left.
        keep: How many stripes each class starts from, and how many go to the end.
    """
    nothing = torch.zeros_like(some.images[:1])
    stripes = torch.cat(striped(nothing, num_stripes=len(raised), seed=seed, amplitude=amplitude))
    kept = min(keep[0], len(raised))
    best = raised.topk(kept, dim=0).indices.T.flatten()
    family = Waves(amplitude)
    course = some.seek(family, classes.repeat_interleave(kept), 1, stripes[best])
    course = halved(course, len(classes), keep[1])
    return some.seek(family, course.classes, num_steps, course.triggers)
