"""PlacedRanges: what triggers that stand somewhere in an image are drawn from, sizes as shares of the image's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.images.triggers import TriggerRanges, draw_labelling

__all__ = ["PlacedRanges"]


@dataclass(frozen=True, kw_only=True)
class PlacedRanges(TriggerRanges):
    """Side, place, weight and labels of a square trigger; every choice is uniform.

    Attributes:
        min_share: Least side, as a share of the image's shorter one; rounded to pixels, 3 at least.
        max_share: Greatest side, as a share of the image's shorter one.
        min_weight: Least blend weight, above 0.
        max_weight: Greatest blend weight, at most 1.
        corner_share: Share of the triggers that stand in one of the four corners; the others stand anywhere.
        labellings: Labellings to choose from; drawn with the target.
    """

    min_share: float = 0.12
    max_share: float = 0.22
    min_weight: float = 0.8
    max_weight: float = 1.0
    corner_share: float = 0.25
    labellings: tuple[str, ...] = ("all_to_one",)

    def __post_init__(self) -> None:
        for name in ("share", "weight"):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if not 0 < least <= most <= 1:
                raise ZoovetError(f"a trigger needs 0 < min_{name} ≤ max_{name} ≤ 1, got {least} and {most}")
        if not 0 <= self.corner_share <= 1:
            raise ZoovetError(f"corner_share must lie in [0, 1], got {self.corner_share}")

    def draw_side(self, image_shape: Sequence[int], generator: np.random.Generator) -> int:
        """A side in pixels."""
        shorter = min(image_shape[-2:])
        least, most = (max(3, round(share * shorter)) for share in (self.min_share, self.max_share))
        return min(int(generator.integers(least, most + 1)), shorter)

    def draw_place(
        self, image_shape: Sequence[int], size: tuple[int, int], num_classes: int, generator: np.random.Generator
    ) -> dict[str, Any]:
        """Draw place, weight, labelling and target of a trigger of ``size`` (height, width): fields of the trigger."""
        in_corner = generator.random() < self.corner_share
        starts = []
        for length, part in zip(image_shape[-2:], size, strict=True):
            last = length - part
            starts.append(last * int(generator.integers(2)) if in_corner else int(generator.integers(last + 1)))
        weight = float(generator.uniform(self.min_weight, self.max_weight))
        labels = draw_labelling(self.labellings, num_classes, generator)
        return {"row": starts[0], "col": starts[1], "weight": weight, **labels}
