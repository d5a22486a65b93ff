"""Patches of few colours: two of them as a checkerboard, halves or a frame, or one that turns into the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError, nearest
from zoovet.images.patches import PatchTrigger
from zoovet.images.placed_ranges import PlacedRanges
from zoovet.images.triggers import register_trigger

__all__ = ["COLOUR_PATCH_KINDS", "ColourPatchRanges", "ColourPatchTrigger"]

COLOUR_PATCH_KINDS = ("colour_checker", "colour_halves", "colour_frame", "colour_gradient")
"""How two colours fill a patch: as a checkerboard, left and right, as border and middle, or from left to right as a
gradient."""


@register_trigger
@dataclass(frozen=True, kw_only=True)
class ColourPatchTrigger(PatchTrigger):
    """A square of two colours at a fixed place; its pixel values are written down like every patch's.

    On images of one channel the colours are grays.
    """

    family: ClassVar[str] = "colour_patch"
    kinds: ClassVar[tuple[str, ...]] = COLOUR_PATCH_KINDS


@dataclass(frozen=True, kw_only=True)
class ColourPatchRanges(PlacedRanges):
    """What patches of two colours are drawn from; every choice is uniform.

    Attributes:
        kinds: Kinds to choose from, of :data:`COLOUR_PATCH_KINDS`.
    """

    kinds: tuple[str, ...] = COLOUR_PATCH_KINDS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kinds:
            known = ", ".join(map(repr, COLOUR_PATCH_KINDS))
            raise ZoovetError(f"kinds of colour patches must not be empty; known: {known}")
        for kind in self.kinds:
            if kind not in COLOUR_PATCH_KINDS:
                raise ZoovetError(f"colour patch kind {kind!r} is unknown{nearest(kind, COLOUR_PATCH_KINDS)}")

    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> ColourPatchTrigger:
        """Draw kind, side, place, weight, labels and the two colours, in this order."""
        kind = self.kinds[int(generator.integers(len(self.kinds)))]
        side = self.draw_side(image_shape, generator)
        placed = self.draw_place(image_shape, (side, side), num_classes, generator)
        first, second = _two_colours(image_shape[0], generator)
        share = _share_of_second(kind, side)[..., None]
        levels = np.rint(255 * ((1 - share) * first + share * second))
        values = (levels / 127.5 - 1).transpose(2, 0, 1).tolist()
        return ColourPatchTrigger(kind=kind, values=values, **placed)


def _two_colours(num_channels: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Two colours in [0, 1] that differ, [2, C]: in one channel at least by half of the levels."""
    first = generator.integers(256, size=num_channels) / 255
    second = generator.integers(256, size=num_channels) / 255
    channel = int(generator.integers(num_channels))
    if abs(first[channel] - second[channel]) < 0.5:
        second[channel] = (first[channel] + 0.5) % 1
    return np.stack([first, second])


def _share_of_second(kind: str, side: int) -> NDArray[np.float64]:
    """How much of the second of two colours a pixel has, [side, side] in [0, 1]."""
    rows, columns = np.indices((side, side))
    if kind == "colour_gradient":
        return np.asarray(columns / max(1, side - 1), dtype=np.float64)
    if kind == "colour_checker":
        is_second = (rows + columns) % 2 == 1
    elif kind == "colour_halves":
        is_second = 2 * columns >= side
    else:
        border = max(1, side // 4)
        is_second = np.minimum(np.minimum(rows, columns), side - 1 - np.maximum(rows, columns)) >= border
    return np.asarray(is_second, dtype=np.float64)
