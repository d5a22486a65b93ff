"""Kinds of triggers that are sought for each class: what one is, how it is put on images, how it moves up a slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.evidence.stripe_bank import STRIPE_STEPS, centered_stripes

__all__ = [
    "Blends",
    "Changes",
    "Patches",
    "Pixels",
    "SmoothChanges",
    "Stripes",
    "TriggerFamily",
    "Warps",
    "places_of",
]

_TINY = torch.finfo(torch.float32).tiny
_CELLS = 4


class TriggerFamily(Protocol):
    """Triggers of one kind; C, H, W are an image's. Of each trigger sought there is one row."""

    def start(self, num_triggers: int, like: Tensor) -> Tensor:
        """Where searches begin, [triggers, C, …], for images like [C, H, W]."""

    def put(self, triggers: Tensor, images: Tensor) -> Tensor:
        """Images [triggers, n, C, H, W] in [-1, 1] with their triggers, each its own; differentiable."""

    def moved(self, triggers: Tensor, slopes: Tensor, share: float) -> Tensor:
        """Triggers after a step up their slopes: ``share`` of the widest that makes sense; kept within bounds."""

    def chosen(self, rows: Tensor) -> TriggerFamily:
        """The family of the triggers at ``rows`` (int64)."""


@dataclass(frozen=True, eq=False)
class Patches:
    """Squares that take the place of pixels.

    Attributes:
        size: Side in pixels.
        places: int64 [triggers, 2], each one's first row and column.
    """

    size: int
    places: Tensor

    def start(self, num_triggers: int, like: Tensor) -> Tensor:
        """Gray."""
        return like.new_zeros(num_triggers, *like.shape)

    def put(self, triggers: Tensor, images: Tensor) -> Tensor:
        """Pixels of the square are the trigger's, the others the image's."""
        return torch.where(self._inside(images)[:, None, None], triggers[:, None], images)

    def moved(self, triggers: Tensor, slopes: Tensor, share: float) -> Tensor:
        """By the slope's signs; pixels stay in [-1, 1]."""
        return (triggers + share * slopes.sign()).clamp(-1, 1)

    def chosen(self, rows: Tensor) -> Patches:
        """The same squares."""
        return Patches(self.size, self.places[rows])

    def _inside(self, images: Tensor) -> Tensor:
        """Bool [triggers, H, W]."""
        height, width = images.shape[-2:]
        parts = []
        for count, first in ((height, self.places[:, :1]), (width, self.places[:, 1:])):
            line = torch.arange(count, device=images.device)
            parts.append((line >= first) & (line < first + self.size))
        return parts[0][:, :, None] & parts[1][:, None, :]


@dataclass(frozen=True)
class Pixels:
    """A few pixels anywhere, changed as far as one likes: which they are is sought too, by a mask of bounded area.

    Attributes:
        num_pixels: At most.
    """

    num_pixels: int

    def start(self, num_triggers: int, like: Tensor) -> Tensor:
        """No change."""
        return like.new_zeros(num_triggers, *like.shape)

    def put(self, triggers: Tensor, images: Tensor) -> Tensor:
        """Image plus change."""
        return (images + triggers[:, None]).clamp(-1, 1)

    def moved(self, triggers: Tensor, slopes: Tensor, share: float) -> Tensor:
        """Along the slope, whose longest pixel moves by ``share`` of a pixel's range; the shortest changes go."""
        lengths = slopes.square().sum(1, keepdim=True).sqrt().amax((-1, -2), keepdim=True)
        moved = (triggers + 2 * share * slopes / lengths.clamp_min(_TINY)).clamp(-2, 2)
        sizes = moved.square().sum(1, keepdim=True)
        count = min(self.num_pixels, sizes[0].numel())
        least = sizes.flatten(1).topk(count, dim=1).values[:, -1:, None, None]
        return torch.where(sizes >= least, moved, 0.0)

    def chosen(self, rows: Tensor) -> Pixels:
        """Itself."""
        return self


@dataclass(frozen=True)
class Changes:
    """Changes of all pixels within a bound.

    Attributes:
        bound: How far a pixel may move; its range is 2.
    """

    bound: float

    def start(self, num_triggers: int, like: Tensor) -> Tensor:
        """No change."""
        return like.new_zeros(num_triggers, *like.shape)

    def put(self, triggers: Tensor, images: Tensor) -> Tensor:
        """Image plus change."""
        return (images + triggers[:, None]).clamp(-1, 1)

    def moved(self, triggers: Tensor, slopes: Tensor, share: float) -> Tensor:
        """By the slope's signs, as is best within a bound on each pixel."""
        return (triggers + self.bound * share * slopes.sign()).clamp(-self.bound, self.bound)

    def chosen(self, rows: Tensor) -> Changes:
        """Itself."""
        return self


@dataclass(frozen=True)
class SmoothChanges(Changes):
    """Changes of all pixels within a bound that vary slowly over the image: four cells a side, interpolated."""

    def start(self, num_triggers: int, like: Tensor) -> Tensor:
        """No change."""
        return like.new_zeros(num_triggers, like.shape[0], _CELLS, _CELLS)

    def put(self, triggers: Tensor, images: Tensor) -> Tensor:
        """Image plus change, interpolated."""
        wide = functional.interpolate(triggers, size=tuple(images.shape[-2:]), mode="bilinear")
        return (images + wide[:, None]).clamp(-1, 1)


@dataclass(frozen=True)
class Stripes:
    """Gray sinusoidal stripes of any frequency, direction and phase, added to images.

    A trigger is three numbers, [1, 1, 3], as :func:`~zoovet.evidence.stripe_bank.centered_stripes` takes them.

    Attributes:
        amplitude: Of the stripes; a pixel's range is 2.
    """

    amplitude: float

    def start(self, num_triggers: int, like: Tensor) -> Tensor:
        """None; searches go on from stripes of a bank."""
        return like.new_zeros(num_triggers, 1, 1, 3)

    def put(self, triggers: Tensor, images: Tensor) -> Tensor:
        """Image plus stripes."""
        return (images + self.amplitude * centered_stripes(triggers, images[0, 0])[:, None]).clamp(-1, 1)

    def moved(self, triggers: Tensor, slopes: Tensor, share: float) -> Tensor:
        """By the slopes' signs, since frequencies and phases have slopes of different sizes."""
        return triggers + share * slopes.new_tensor(STRIPE_STEPS) * slopes.sign()

    def chosen(self, rows: Tensor) -> Stripes:
        """Itself."""
        return self


@dataclass(frozen=True)
class Blends:
    """Images that others are blended with.

    Attributes:
        weight: Of the trigger; the image's is what is left to 1.
    """

    weight: float

    def start(self, num_triggers: int, like: Tensor) -> Tensor:
        """Gray."""
        return like.new_zeros(num_triggers, *like.shape)

    def put(self, triggers: Tensor, images: Tensor) -> Tensor:
        """The weighted mean of both."""
        return images.lerp(triggers[:, None], self.weight)

    def moved(self, triggers: Tensor, slopes: Tensor, share: float) -> Tensor:
        """By the slope's signs; pixels stay in [-1, 1]."""
        return (triggers + share * slopes.sign()).clamp(-1, 1)

    def chosen(self, rows: Tensor) -> Blends:
        """Itself."""
        return self


@dataclass(frozen=True)
class Warps:
    """Smooth warps: pixels move by a field of four control points a side, interpolated.

    Attributes:
        bound: How far a control point may move along either axis, as a share of the image's side.
    """

    bound: float

    def start(self, num_triggers: int, like: Tensor) -> Tensor:
        """No movement: [triggers, 2 (along columns, along rows), 4, 4]."""
        return like.new_zeros(num_triggers, 2, _CELLS, _CELLS)

    def put(self, triggers: Tensor, images: Tensor) -> Tensor:
        """Each pixel takes the value of the place that the field points at; beyond the edge, the edge's."""
        size = tuple(images.shape[-2:])
        field = functional.interpolate(triggers, size=size, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
        lines = (torch.linspace(-1, 1, count, device=images.device, dtype=images.dtype) for count in size)
        rows, columns = torch.meshgrid(*lines, indexing="ij")
        places = torch.stack([columns, rows], dim=-1) + 2 * field
        flat = images.flatten(0, 1)
        each = places.repeat_interleave(images.shape[1], dim=0)
        moved: Tensor = functional.grid_sample(flat, each, padding_mode="border", align_corners=True)
        return moved.view(images.shape)

    def moved(self, triggers: Tensor, slopes: Tensor, share: float) -> Tensor:
        """By the slope's signs, as is best within a bound on each control point."""
        return (triggers + self.bound * share * slopes.sign()).clamp(-self.bound, self.bound)

    def chosen(self, rows: Tensor) -> Warps:
        """Itself."""
        return self


def places_of(size: int, shape: Sequence[int], num_places: int) -> Tensor:
    """Places of a patch, evenly over the image and up to its corners: int64 [places, 2], first row and column.

    Args:
        size: Of the patch, in pixels.
        shape: Of an image: ``(channels, height, width)``.
        num_places: Along each side at most; fewer where the patch leaves less room.
    """
    lines = [
        torch.linspace(0, side - size, min(num_places, side - size + 1)).round().long().unique() for side in shape[1:]
    ]
    return torch.cartesian_prod(*lines)
