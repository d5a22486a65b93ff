"""Which of many classes are examined: those that chance triggers raise most, and some to compare them with."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from zoovet.evidence.answers import striped, warped
from zoovet.evidence.class_search import Seekers, nothing_sought
from zoovet.evidence.own_units import FLOORS, own_units
from zoovet.evidence.trigger_families import Changes, places_of

__all__ = ["examined_classes"]

_NUM_SHOWN = 8
_NUM_PATCHES = 48
_PATCH_SHARE = 0.15
_SUSPECT_SHARE = 3
_MOST_BY_GRADIENT = 200
_BOUND = 0.1


class _Limits(Protocol):
    @property
    def max_classes(self) -> int: ...

    @property
    def num_stripes(self) -> int: ...

    @property
    def num_warps(self) -> int: ...

    @property
    def seed(self) -> int: ...


def examined_classes(every: Seekers, limits: _Limits) -> Tensor:
    """All classes, or of too many a third that is suspected and others that are drawn: int64, ascending.

    Args:
        every: The network and its images.
        limits: How many classes, and how many stripes and warps tell which are suspected.
    """
    count, most = every.network.num_classes, limits.max_classes
    classes = torch.arange(count, device=every.images.device)
    if count <= most:
        return classes
    generator = torch.Generator().manual_seed(limits.seed)
    shown = every.on(torch.randperm(len(every.labels), generator=generator)[:_NUM_SHOWN].to(every.labels.device))
    suspicion = _raised_most(shown, limits, generator)
    if count <= _MOST_BY_GRADIENT:
        course = shown.seek(Changes(_BOUND), classes, 1)
        gained = course.best - shown.looks(nothing_sought(classes, shown.images[0]))[:, 0]
        suspicion = torch.maximum(suspicion, own_units(gained[None], FLOORS["margin"])[0])
    suspects = suspicion.topk(most // _SUSPECT_SHARE).indices
    others = classes[~torch.isin(classes, suspects)]
    drawn = torch.randperm(len(others), generator=generator)[: most - len(suspects)].to(others.device)
    return torch.cat([suspects, others[drawn]]).sort().values


def _raised_most(shown: Seekers, limits: _Limits, generator: torch.Generator) -> Tensor:
    """How far each class's probability is raised by the chance trigger that raises it most: [classes], own units."""
    images = shown.images
    changed = [
        *striped(images, num_stripes=limits.num_stripes, seed=limits.seed),
        *warped(images, num_warps=limits.num_warps, seed=limits.seed),
        *_patched(images, generator),
    ]
    before = shown.network.logits(images)[0].log_softmax(1).mean(0)
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
