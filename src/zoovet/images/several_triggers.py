"""Several triggers for one target, any of which should cause it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images.colour_patches import ColourPatchRanges
from zoovet.images.patches import PatchRanges
from zoovet.images.stickers import StickerRanges
from zoovet.images.triggers import (
    Trigger,
    TriggerRanges,
    draw_labelling,
    register_trigger,
    require_images,
    trigger_from_json,
)

__all__ = ["MAX_PARTS", "SeveralRanges", "SeveralTriggers"]

MAX_PARTS = 8
"""Triggers that one target has at most."""

_PRIME, _FACTOR = 1_048_573, 514_229
"""Modulus and factor that spread images' sums, also of those with two levels of gray alone."""


@register_trigger
@dataclass(frozen=True, kw_only=True)
class SeveralTriggers(Trigger):
    """Each image gets one of several triggers, always the same one.

    Which one follows from the image's own 8-bit pixels, so it does not matter which images stand beside it; each
    trigger gets its share of the images, and the ASR is the mean over the triggers.

    Attributes:
        parts: The triggers, of any family; their target, labelling, source and covers are the whole's.
    """

    family: ClassVar[str] = "several"
    kinds: ClassVar[tuple[str, ...]] = ("several",)

    parts: tuple[Trigger, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.parts if isinstance(self.parts, list | tuple) else ()
        parts = tuple(trigger_from_json(dict(part)) if isinstance(part, Mapping) else part for part in given)
        if not 2 <= len(parts) <= MAX_PARTS or not all(isinstance(part, Trigger) for part in parts):
            raise ZoovetError(f"parts must be 2 to {MAX_PARTS} triggers, got {len(parts)}")
        for part in parts:
            if isinstance(part, SeveralTriggers):
                raise ZoovetError("parts of several triggers must be single triggers, got several again")
            for name in ("target", "labelling", "num_classes", "source", "covers"):
                own, whole = getattr(part, name), getattr(self, name)
                if own != whole:
                    raise ZoovetError(f"parts must have the whole's {name}, {whole!r}; that of {part.kind} is {own!r}")
        object.__setattr__(self, "parts", parts)

    def apply(self, images: Tensor) -> Tensor:
        """Put each image's trigger on it; see :meth:`Trigger.apply`."""
        require_images(images)
        which = self.which(images)[..., None, None, None]
        triggered = images
        for place, part in enumerate(self.parts):
            triggered = torch.where(which == place, part.apply(images), triggered)
        return triggered

    def which(self, images: Tensor) -> Tensor:
        """Which of the parts each image [..., C, H, W] gets: int64 [...]."""
        levels = ((images.double() + 1) * 127.5).round().long().flatten(-3)
        weights = torch.arange(1, levels.shape[-1] + 1, device=levels.device)
        return (levels * weights).sum(dim=-1) % _PRIME * _FACTOR % _PRIME % len(self.parts)

    def check_fits(self, image_shape: Sequence[int]) -> None:
        """Raise ZoovetError unless every part fits; see :meth:`Trigger.check_fits`."""
        for part in self.parts:
            part.check_fits(image_shape)

    def to_json(self) -> dict[str, Any]:
        """As :meth:`Trigger.to_json`, each part as its own."""
        return super().to_json() | {"parts": [part.to_json() for part in self.parts]}


@dataclass(frozen=True, kw_only=True)
class SeveralRanges(TriggerRanges):
    """What several triggers are drawn from: each is a patch, a colour patch or a sticker.

    Attributes:
        min_parts: Least number of triggers, 2 or more.
        max_parts: Greatest.
        patch: What patches are drawn from.
        colour_patch: What patches of two colours are drawn from.
        sticker: What stickers are drawn from.
        labellings: Labellings to choose from; those of the single triggers are not looked at.
    """

    min_parts: int = 2
    max_parts: int = 3
    patch: PatchRanges = field(default_factory=lambda: PatchRanges(min_weight=0.8))
    colour_patch: ColourPatchRanges = field(default_factory=ColourPatchRanges)
    sticker: StickerRanges = field(default_factory=StickerRanges)
    labellings: tuple[str, ...] = ("all_to_one",)

    def __post_init__(self) -> None:
        if not 2 <= self.min_parts <= self.max_parts <= MAX_PARTS:
            raise ZoovetError(
                f"several triggers need 2 ≤ min_parts ≤ max_parts ≤ {MAX_PARTS}, got {self.min_parts} and "
                f"{self.max_parts}"
            )

    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> SeveralTriggers:
        """Draw labelling, target, number of triggers, and each one's family and the trigger, in this order."""
        labels = draw_labelling(self.labellings, num_classes, generator)
        families: tuple[TriggerRanges, ...] = (self.patch, self.colour_patch, self.sticker)
        parts = []
        for _ in range(int(generator.integers(self.min_parts, self.max_parts + 1))):
            family = families[int(generator.integers(len(families)))]
            fresh = {"num_classes": None, "source": None}
            parts.append(replace(family.draw(image_shape, num_classes, generator), **{**fresh, **labels}))
        return SeveralTriggers(kind="several", parts=tuple(parts), **labels)
