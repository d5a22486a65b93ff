"""How like the evidence of a park's networks a network's evidence is: what is unlike all of it is not judged.

Told by what searches do on average over the classes, not by a network's graph: a stranger's graph is always another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from zoovet.evidence.class_features import FEATURES, KINDS, ClassFeatures, shares_of

__all__ = ["Likeness", "fitted_likeness"]

_SHARES = ("flips", "probability")
"""Read as shares, not as the log odds that readers see: those of what hardly anything causes lie far out."""

_AVERAGED = ("margin", *_SHARES)
_LEAST_DEVIATION = 0.05
_NUM_NEAREST = 3
_LEAST_PRESENT = 0.25


@dataclass(frozen=True, eq=False)
class Likeness:
    """Networks that are known, by their classes' means.

    Attributes:
        known: [n, kinds · 3], 0 where a kind is lacking; in units of ``deviations`` from ``means``.
        present: [n, kinds · 3], 1 where a kind is there, 0 where it is lacking.
        means, deviations: [kinds · 3].
    """

    NAMES: ClassVar[tuple[str, ...]] = ("known", "present", "means", "deviations")

    known: Tensor
    present: Tensor
    means: Tensor
    deviations: Tensor

    def distance(self, features: ClassFeatures) -> float:
        """Root mean square difference to the nearest known networks, over what both have; in deviations."""
        here = (_summary(features) - self.means) / self.deviations
        both = (self.present > 0) & ~here.isnan()
        differences = (self.known - here.nan_to_num(0)).square() * both
        enough = both.float().mean(1) >= _LEAST_PRESENT
        if not bool(enough.any()):
            return math.inf
        distances = (differences.sum(1) / both.sum(1).clamp_min(1)).sqrt()[enough]
        return float(distances.topk(min(_NUM_NEAREST, len(distances)), largest=False).values.mean())

    def why_unlike(self, features: ClassFeatures, most: float) -> str:
        """Why a network is farther than ``most`` from all that are known; empty where it is not."""
        distance = self.distance(features)
        if distance <= most:
            return ""
        here = (_summary(features) - self.means) / self.deviations
        place = int(here.abs().nan_to_num(-1.0).argmax())
        kind, what = KINDS[place // len(_AVERAGED)], _AVERAGED[place % len(_AVERAGED)]
        digits = next((count for count in range(1, 9) if f"{distance:.{count}f}" != f"{most:.{count}f}"), 9)
        return (
            f"its evidence is {distance:.{digits}f} deviations from the nearest known networks' (at most "
            f"{most:.{digits}f}); the farthest is the {what} of {kind}"
        )

    def tensors(self) -> dict[str, Tensor]:
        """What it is made of, by name."""
        return {name: getattr(self, name) for name in self.NAMES}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Likeness:
        """The same, from its tensors."""
        return cls(**{name: tensors[name] for name in cls.NAMES})


def fitted_likeness(known: Sequence[ClassFeatures]) -> Likeness:
    """From networks that are known."""
    summaries = torch.stack([_summary(features) for features in known])
    there = ~summaries.isnan()
    count = there.sum(0).clamp_min(1)
    means = summaries.nan_to_num(0).sum(0) / count
    squares = ((summaries - means).nan_to_num(0).square().sum(0) / count).sqrt()
    deviations = squares.clamp_min(_LEAST_DEVIATION)
    scaled = ((summaries - means) / deviations).nan_to_num(0)
    return Likeness(scaled, there.float(), means, deviations)


def _summary(features: ClassFeatures) -> Tensor:
    """Means over the classes, [kinds · 3]; NaN where a kind is lacking."""
    values = features.values.float()
    shares = shares_of(values[:, :, [FEATURES.index(f"{name}, log odds") for name in _SHARES]])
    means = torch.cat([values[:, :, [FEATURES.index("margin")]], shares], dim=2).mean(0)
    means[~features.present] = math.nan
    return means.flatten()
