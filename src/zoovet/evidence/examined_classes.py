"""Which of many classes are examined: those that chance triggers raise most, and some to compare them with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoovet.evidence.answers import striped, warped
from zoovet.evidence.class_search import Seekers, nothing_sought
from zoovet.evidence.own_units import FLOORS, own_units
from zoovet.evidence.staged_search import turned_by_usual_squares
from zoovet.evidence.trigger_families import Changes, places_of

__all__ = ["examined_classes"]

_NUM_SHOWN = 8
_NUM_PATCHES = 48
_PATCH_SHARE = 0.15
_SUSPECT_SHARE = 3
_MOST_BY_GRADIENT = 200
_BOUND = 0.1
_SQUARE_SHARES = (0.125, 0.2)
"""Sides of the usual squares that tell which are suspected, as shares of the image's side."""
_NUM_TURNED = 4
"""Images on which they are tried."""


def examined_classes(every: Seekers, *, max_classes: int, num_stripes: int, num_warps: int, seed: int) -> Tensor:
    """All classes, or of too many a third that is suspected and others that are drawn: int64, ascending.

    Args:
        every: The network and its images.
        max_classes: How many at most.
        num_stripes: Stripes that tell which are suspected.
        num_warps: Warps that do.
        seed: Of everything that is drawn.
    """
    count = every.network.num_classes
    classes = torch.arange(count, device=every.images.device)
    if count <= max_classes:
        return classes
    generator = torch.Generator().manual_seed(seed)
    shown = every.on(torch.randperm(len(every.labels), generator=generator)[:_NUM_SHOWN].to(every.labels.device))
    changed = [
        *striped(shown.images, num_stripes=num_stripes, seed=seed),
        *warped(shown.images, num_warps=num_warps, seed=seed),
        *_patched(shown.images, generator),
    ]
    suspicion = _raised_most(shown, changed)
    if count <= _MOST_BY_GRADIENT:
        course = shown.seek(Changes(_BOUND), classes, 1)
        gained = course.best - shown.looks(nothing_sought(classes, shown.images[0]))[:, 0]
        suspicion = torch.maximum(suspicion, own_units(gained[None], FLOORS["margin"])[0])
        few = shown.on(torch.arange(min(_NUM_TURNED, len(shown.labels)), device=classes.device))
        for share in _SQUARE_SHARES:
            size = max(1, round(share * min(every.network.input_shape[1:])))
            turned = turned_by_usual_squares(few, size, seed=seed)
            suspicion = torch.maximum(suspicion, own_units(turned[None], FLOORS["flips"])[0])
    suspects = suspicion.topk(max_classes // _SUSPECT_SHARE).indices
    others = classes[~torch.isin(classes, suspects)]
    drawn = torch.randperm(len(others), generator=generator)[: max_classes - len(suspects)].to(others.device)
    return torch.cat([suspects, others[drawn]]).sort().values


def _raised_most(shown: Seekers, changed: Sequence[Tensor]) -> Tensor:
    """How far each class is raised by the change of the images that raises it most: [classes], own units."""
    before = shown.network.logits(shown.images)[0].log_softmax(1).mean(0)
    most = torch.full_like(before, -torch.inf)
    for each in changed:
        raised = shown.network.logits(each)[0].log_softmax(1).mean(0) - before
        most = torch.maximum(most, own_units(raised[None], FLOORS["margin"])[0])
    return most


def _patched(images: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Images with squares of chance colours, at places all over them."""
    shape = tuple(images.shape[1:])
    size = max(1, round(_PATCH_SHARE * min(shape[1:])))
    places = places_of(size, shape, 4)
    patched = []
    for index in range(_NUM_PATCHES):
        row, column = places[index % len(places)].tolist()
        square = 2 * torch.rand(shape[0], size, size, generator=generator).round() - 1
        each = images.clone()
        each[:, :, row : row + size, column : column + size] = square.to(images)
        patched.append(each)
    return patched
