"""Patches at fixed places, as published attacks put them: small ones in a corner, on an edge, in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoovet.errors import ZoovetError, nearest
from zoovet.images.patches import PATCH_KINDS, PatchTrigger, patch_values
from zoovet.images.triggers import TriggerRanges, draw_labelling

__all__ = ["PATCH_PLACES", "FixedPatchRanges"]

PATCH_PLACES = ("corner", "edge", "middle")
"""Where a patch stands: in one of four corners, somewhere along one of four edges, in the image's middle."""


@dataclass(frozen=True, kw_only=True)
class FixedPatchRanges(TriggerRanges):
    """What square patches at fixed places are drawn from; every choice is uniform. They cover the image.

    Attributes:
        kinds: Kinds to choose from, of :data:`~zoovet.images.PATCH_KINDS`.
        places: Places to choose from, of :data:`PATCH_PLACES`.
        min_size: Least side, in pixels.
        max_size: Greatest side, in pixels; included.
        max_margin: Greatest number of pixels between a patch and the edge that it stands at; the least is 0.
        labellings: Labellings to choose from; drawn with the target.
    """

    kinds: tuple[str, ...] = ("white", "checker", "plain", "random_binary")
    places: tuple[str, ...] = ("corner", "corner", "edge", "middle")
    min_size: int = 2
    max_size: int = 5
    max_margin: int = 1
    labellings: tuple[str, ...] = ("all_to_one",)

    def __post_init__(self) -> None:
        for name, chosen, known in (("kind", self.kinds, PATCH_KINDS), ("place", self.places, PATCH_PLACES)):
            if not chosen:
                raise ZoovetError(f"{name}s of patches must not be empty; known: {', '.join(map(repr, known))}")
            for one in chosen:
                if one not in known:
                    raise ZoovetError(f"patch {name} {one!r} is unknown{nearest(one, known)}")
        if not 1 <= self.min_size <= self.max_size:
            raise ZoovetError(f"patch sizes need 1 ≤ min_size ≤ max_size, got {self.min_size} and {self.max_size}")
        if self.max_margin < 0:
            raise ZoovetError(f"max_margin must be at least 0 pixels, got {self.max_margin}")

    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> PatchTrigger:
        """Draw kind, place, side, margin, target and pixel values, in this order.

        Raises:
            ZoovetError: The largest patch and its margins do not fit the images, or there are no two classes.
        """
        channels, image_height, image_width = image_shape
        if self.max_size + 2 * self.max_margin > min(image_height, image_width):
            raise ZoovetError(
                f"patches of up to {self.max_size} pixels with margins of {self.max_margin} do not fit images of "
                f"{image_height} × {image_width}; lower max_size or max_margin"
            )
        kind = self.kinds[int(generator.integers(len(self.kinds)))]
        place = self.places[int(generator.integers(len(self.places)))]
        size = int(generator.integers(self.min_size, self.max_size + 1))
        margin = int(generator.integers(self.max_margin + 1))
        row = _start(image_height, size, margin, place, generator)
        col = _start(image_width, size, margin, place, generator)
        if place == "edge":  # one of the two coordinates is anywhere
            if generator.integers(2):
                row = int(generator.integers(image_height - size + 1))
            else:
                col = int(generator.integers(image_width - size + 1))
        labels = draw_labelling(self.labellings, num_classes, generator)
        values = patch_values(kind, (channels, size, size), generator)
        return PatchTrigger(kind=kind, row=row, col=col, weight=1.0, values=values, **labels)


def _start(length: int, size: int, margin: int, place: str, generator: np.random.Generator) -> int:
    """First row (or column) of a patch: at one of both ends, or in the middle."""
    if place == "middle":
        return (length - size) // 2
    return margin if generator.integers(2) else length - size - margin
