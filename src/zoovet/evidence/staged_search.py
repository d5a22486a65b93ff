"""Searches in stages: at many places, from many stripes or usual triggers, on few images; the best ones on more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.evidence.class_search import Course, Seekers, halved, nothing_sought
from zoovet.evidence.exchange import Exchange, exchanged
from zoovet.evidence.stripe_bank import stripe_starts
from zoovet.evidence.trigger_families import Blends, Patches, Stripes, TriggerFamily, Warps, places_of
from zoovet.evidence.usual_triggers import drawn_warps, placed, usual_blends, usual_patches, usual_places

__all__ = [
    "Tried",
    "raised_by_warps",
    "sought_from",
    "sought_patches",
    "tried_blends",
    "tried_patches",
    "tried_stripes",
    "turned_by_usual_squares",
]

_NUM_WARPS = 64
"""Warps that are tried."""

_KEPT = 6
"""Triggers that are looked at again for each class, of those tried."""

_KEPT_UPHILL = 2
"""Triggers of each class that are moved uphill, of these."""

_KEPT_EXCHANGES = 12
"""The same of those that exchange classes."""


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


@dataclass(frozen=True, eq=False)
class Tried:
    """What triggers do that are tried as they are.

    Attributes:
        course: Of each class, the one that works best; two steps, without and with it.
        exchange: The one that makes most classes each another.
    """

    course: Course
    exchange: Exchange


def raised_by_warps(few: Seekers, movement: float, classes: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """How near random smooth warps bring each class: [warps, classes], and their fields [warps, 2, 4, 4].

    Args:
        few: Few images.
        movement: Mean movement along either axis, a share of the image's side.
        classes: int64 [classes], which.
        seed: Of the warps.
    """
    movements = torch.full((_NUM_WARPS,), movement).to(few.images)
    fields, family = drawn_warps(movements, torch.Generator().manual_seed(seed)), Warps(2 * movement)
    parts = fields.split(max(1, few.max_images // len(few.images)))
    shown = (family.put(part, few.images.expand(len(part), *few.images.shape)) for part in parts)
    return torch.cat([few.nearness(images, classes) for images in shown]), fields


def sought_from(
    near: Tensor,
    triggers: Tensor,
    some: Seekers,
    family: TriggerFamily,
    classes: Tensor,
    *,
    num_steps: int,
    keep: tuple[int, int],
) -> Course:
    """Uphill from those triggers that bring each class nearest: a few for one step, the best of these to the end.

    Args:
        near: [triggers, classes], how near each brings each of the classes.
        triggers: [triggers, …], of the family.
        some: Images.
        family: What they are, and within which bound they move.
        classes: int64 [classes], towards which.
        num_steps: Steps of what is left.
        keep: How many triggers each class starts from, and how many go to the end.
    """
    kept = min(keep[0], len(near))
    best = triggers[near.topk(kept, dim=0).indices.T.flatten()]
    course = some.seek(family, classes.repeat_interleave(kept), 1, best)
    course = halved(course, len(classes), keep[1])
    return some.seek(family, course.classes, num_steps, course.triggers)


def tried_patches(few: Seekers, some: Seekers, every: Seekers, size: int, classes: Tensor, *, seed: int) -> Tried:
    """The usual squares at the usual places, as they are.

    Args:
        few: Few images, which choose.
        some: More, which choose among the best for each class.
        every: All, which choose among those that exchange most classes.
        size: Side of a square in pixels.
        classes: int64 [classes], towards which.
        seed: Of what is drawn of the squares.
    """
    return _best_tried(few, some, every, classes, *_usual_squares(few, size, seed))


def turned_by_usual_squares(few: Seekers, size: int, *, seed: int) -> Tensor:
    """Share of a few images that become each class by that of the usual squares which turns most: [all classes].

    Args:
        few: Few images; those of a class do not count for it.
        size: Side of a square in pixels.
        seed: Of what is drawn of the squares.
    """
    count, of = _usual_squares(few, size, seed)
    others = (few.labels[:, None] != torch.arange(few.network.num_classes, device=few.labels.device)).to(few.images)
    most = torch.zeros_like(others[0])
    for rows in torch.arange(count, device=few.labels.device).split(max(1, few.max_images // len(few.images))):
        family, triggers = of(rows)
        taken = few.logits(family.put(triggers, few.images.expand(len(rows), *few.images.shape))).argmax(2)
        turned = functional.one_hot(taken, few.network.num_classes) * others
        most = torch.maximum(most, (turned.sum(1) / others.sum(0).clamp_min(1)).amax(0))
    return most


def _usual_squares(few: Seekers, size: int, seed: int) -> tuple[int, Callable[[Tensor], tuple[TriggerFamily, Tensor]]]:
    """How many usual squares at usual places there are, and what makes those at some rows."""
    shape = few.network.input_shape
    squares = usual_patches(shape[0], size, seed).to(few.images)
    places = usual_places(size, shape).to(few.images.device)
    which = torch.cartesian_prod(torch.arange(len(squares)), torch.arange(len(places))).to(places.device)

    def of(rows: Tensor) -> tuple[TriggerFamily, Tensor]:
        square, place = which[rows].unbind(1)
        return Patches(size, places[place]), placed(squares[square], places[place], shape)

    return len(which), of


def tried_blends(few: Seekers, some: Seekers, every: Seekers, weight: float, classes: Tensor, *, seed: int) -> Tried:
    """Noise of several kinds blended into images with ``weight``; otherwise as :func:`tried_patches`."""
    noises = usual_blends(few.network.input_shape, seed).to(few.images)
    return _best_tried(few, some, every, classes, len(noises), lambda rows: (Blends(weight), noises[rows]))


def tried_stripes(
    few: Seekers, some: Seekers, every: Seekers, amplitude: float, classes: Tensor, *, most_periods: int, num_steps: int
) -> Tried:
    """Stripes of all frequencies up to some periods, with one amplitude, and from the best of them uphill.

    Otherwise as :func:`tried_patches`. An attacker's stripes seldom have whole periods.

    Args:
        few, some, every, amplitude, classes: As there.
        most_periods: Along each side of the image.
        num_steps: Steps uphill in frequency and phase.
    """
    starts, family = stripe_starts(few.images[0], most_periods), Stripes(amplitude)
    return _best_tried(few, some, every, classes, len(starts), lambda rows: (family, starts[rows]), num_steps)


def _best_tried(
    few: Seekers,
    some: Seekers,
    every: Seekers,
    classes: Tensor,
    count: int,
    of: Callable[[Tensor], tuple[TriggerFamily, Tensor]],
    num_steps: int = 0,
) -> Tried:
    """For each class the best of ``count`` triggers, after some steps uphill, and what exchanges most classes."""
    near, exchanges = [], []
    clean = few.logits(few.images[None])[0]
    for rows in torch.arange(count, device=classes.device).split(max(1, few.max_images // len(few.images))):
        family, triggers = of(rows)
        answers = few.logits(family.put(triggers, few.images.expand(len(rows), *few.images.shape)))
        near.append(few.nearness_of(answers, classes))
        exchanges.append(exchanged(answers, clean, few.labels).sum(1))
    kept = min(_KEPT, count)
    family, triggers = of(torch.cat(near).topk(kept, dim=0).indices.T.flatten())
    course = some.seek(family, classes.repeat_interleave(kept), 0, triggers)
    if num_steps:
        course = halved(course, len(classes), _KEPT_UPHILL)
        course = some.seek(course.family, course.classes, num_steps, course.triggers)
    course = halved(course, len(classes), 1)
    before = some.looks(nothing_sought(classes, some.images[0]))
    best = course.values[torch.arange(len(classes)), course.values[:, :, 0].argmax(1)]
    course = replace(course, values=torch.stack([before, best], dim=1))
    return Tried(course, _most_exchanged(every, torch.cat(exchanges).topk(min(_KEPT_EXCHANGES, count)).indices, of))


def _most_exchanged(every: Seekers, rows: Tensor, of: Callable[[Tensor], tuple[TriggerFamily, Tensor]]) -> Exchange:
    """On all images, of those triggers that exchanged most classes of a few."""
    clean, shares = every.logits(every.images[None])[0], []
    for row in rows.split(1):
        family, trigger = of(row)
        answers = every.logits(family.put(trigger, every.images[None]))
        shares.append(exchanged(answers, clean, every.labels)[0])
    best = int(torch.stack(shares).sum(1).argmax())
    return Exchange(*of(rows[best : best + 1]), shares[best])
