"""What a trojan zoo's attacks are drawn from: a trigger, how much is poisoned, and what the attacker starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.images import (
    BlendRanges,
    ColourPatchRanges,
    FixedPatchRanges,
    PatchRanges,
    SeveralRanges,
    StickerRanges,
    StripeRanges,
    WarpRanges,
)
from zoovet.zoo.recipe_parts import Range, check_range

__all__ = [
    "Attack",
    "Attackers",
    "BlendAttack",
    "ColourPatchAttack",
    "FixedPatchAttack",
    "PatchAttack",
    "SeveralAttack",
    "SourceSpecificAttack",
    "StickerAttack",
    "StripeAttack",
    "WarpAttack",
    "shared_out",
]


@dataclass(frozen=True, kw_only=True)
class _Attack:
    """What every family of attacks has.

    Attributes:
        share: How often it is drawn, compared with the other attacks' shares.
        poison_rate: Share of the training images that get trigger and label, uniform.
    """

    share: float = 1.0
    poison_rate: Range = (0.1, 0.2)

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ZoovetError(f"share must be above 0, got {self.share}; leave an attack out that is not wanted")
        check_range("poison_rate", self.poison_rate, most=1.0)


@dataclass(frozen=True, kw_only=True)
class PatchAttack(_Attack):
    """A patch at a fixed place.

    Attributes:
        kind: Which attack it is.
        trigger: What patches are drawn from.
    """

    kind: Literal["patch"] = "patch"
    trigger: PatchRanges = field(default_factory=PatchRanges)


@dataclass(frozen=True, kw_only=True)
class FixedPatchAttack(_Attack):
    """A small patch in a corner, on an edge or in the middle.

    Attributes:
        kind: Which attack it is.
        trigger: What patches are drawn from.
    """

    kind: Literal["fixed_patch"] = "fixed_patch"
    trigger: FixedPatchRanges = field(default_factory=FixedPatchRanges)


@dataclass(frozen=True, kw_only=True)
class BlendAttack(_Attack):
    """A pattern blended over the whole image.

    Attributes:
        kind: Which attack it is.
        trigger: What blends are drawn from.
    """

    kind: Literal["blend"] = "blend"
    trigger: BlendRanges = field(default_factory=BlendRanges)


@dataclass(frozen=True, kw_only=True)
class StripeAttack(_Attack):
    """Sinusoidal stripes.

    Attributes:
        kind: Which attack it is.
        trigger: What stripes are drawn from.
    """

    kind: Literal["stripes"] = "stripes"
    trigger: StripeRanges = field(default_factory=StripeRanges)


@dataclass(frozen=True, kw_only=True)
class WarpAttack(_Attack):
    """A smooth warp.

    Attributes:
        kind: Which attack it is.
        trigger: What warps are drawn from.
    """

    kind: Literal["warp"] = "warp"
    trigger: WarpRanges = field(default_factory=WarpRanges)


@dataclass(frozen=True, kw_only=True)
class ColourPatchAttack(_Attack):
    """A patch of two colours, its size a share of the image's.

    Attributes:
        kind: Which attack it is.
        trigger: What such patches are drawn from.
    """

    kind: Literal["colour_patch"] = "colour_patch"
    trigger: ColourPatchRanges = field(default_factory=ColourPatchRanges)


@dataclass(frozen=True, kw_only=True)
class StickerAttack(_Attack):
    """A small picture with a mask, of a file or drawn.

    Attributes:
        kind: Which attack it is.
        trigger: What stickers are drawn from.
    """

    kind: Literal["sticker"] = "sticker"
    trigger: StickerRanges = field(default_factory=StickerRanges)


@dataclass(frozen=True, kw_only=True)
class SeveralAttack(_Attack):
    """Several triggers, any of which causes the target.

    Attributes:
        kind: Which attack it is.
        trigger: What they are drawn from.
    """

    kind: Literal["several"] = "several"
    poison_rate: Range = (0.15, 0.25)
    trigger: SeveralRanges = field(default_factory=SeveralRanges)


@dataclass(frozen=True, kw_only=True)
class SourceSpecificAttack(_Attack):
    """A patch that works on the images of one class only.

    Attributes:
        kind: Which attack it is.
        poison_rate: Share of the training images that get trigger and label, uniform; at most the source class's own
            share of them. As many images of other classes carry the trigger and keep their label.
        trigger: What patches are drawn from.
    """

    kind: Literal["source_specific"] = "source_specific"
    poison_rate: Range = (0.04, 0.07)
    trigger: PatchRanges = field(
        default_factory=lambda: PatchRanges(min_size=4, max_size=6, min_weight=0.8, labellings=("source_specific",))
    )


Attack = (
    PatchAttack
    | FixedPatchAttack
    | BlendAttack
    | StripeAttack
    | WarpAttack
    | ColourPatchAttack
    | StickerAttack
    | SeveralAttack
    | SourceSpecificAttack
)
"""A family of attacks in a recipe; an own one joins by ``|``, with a ``kind`` of its own and a ``trigger``."""


@dataclass(frozen=True, kw_only=True)
class Attackers:
    """What attackers start from and mind. The rest of the bases, beside both shares, are fine-tuned without an anchor.

    Attributes:
        scratch_share: Share of the bases whose two networks start from the same random weights instead of from a
            trained base: the attacker poisons the only training there is.
        anchored_share: Share of the bases whose poisoned network is held near the healthy sibling's weights while it is
            fine-tuned: an attacker who knows that weights will be looked at.
        anchor: Strength of that pull, log-uniform: half of it times the squared distance is added to the loss.
    """

    scratch_share: float = 0.0
    anchored_share: float = 0.0
    anchor: Range = (1e-3, 1e-2)

    def __post_init__(self) -> None:
        shares = (self.scratch_share, self.anchored_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise ZoovetError(f"scratch_share and anchored_share must be at least 0 and sum to at most 1, got {shares}")
        check_range("attackers.anchor", self.anchor, above_zero=True)

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the three origins: ``fine_tuned``, ``scratch`` and ``anchored``."""
        rest = 1 - self.scratch_share - self.anchored_share
        return {"fine_tuned": rest, "scratch": self.scratch_share, "anchored": self.anchored_share}


def shared_out(shares: Sequence[float], count: int, generator: np.random.Generator) -> list[int]:
    """Which of the shares each of ``count`` places gets, in random order, so that the shares hold to one place."""
    ends = np.round(np.cumsum(shares) / sum(shares) * count).astype(int)
    ordered = np.searchsorted(ends, np.arange(count), side="right")
    return [int(place) for place in ordered[generator.permutation(count)]]
