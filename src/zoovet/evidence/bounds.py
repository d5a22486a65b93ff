"""How far triggers may go: until the class in the middle of a network's own wins about half of the images.

Large networks give way within bounds that small ones hardly feel, so no bound fits all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from zoovet.evidence.class_search import Seekers
from zoovet.evidence.trigger_families import Changes, Pixels, SmoothChanges, TriggerFamily, Warps

__all__ = ["BOUNDED_KINDS", "bounded", "bounds_in", "usual_bound", "widest_bound"]

BOUNDED_KINDS = ("pixels", "change", "smooth", "warp")
"""Kinds of triggers that have an area or a bound."""

_WANTED_FLIPS = 0.5
_NUM_TRIALS = 5
_NUM_TRIAL_STEPS = 2
_FIRST = {"pixels": 20.0, "change": 0.1, "smooth": 0.1, "warp": 0.05}
_WIDEST = {"change": 2.0, "smooth": 2.0, "warp": 0.25}


def bounded(kind: str, bound: float) -> TriggerFamily:
    """The triggers of a kind of :data:`BOUNDED_KINDS` within an area or bound."""
    if kind == "pixels":
        return Pixels(max(1, round(bound)))
    makers: dict[str, Callable[[float], TriggerFamily]] = {"change": Changes, "smooth": SmoothChanges, "warp": Warps}
    return makers[kind](bound)


def widest_bound(kind: str, shape: Sequence[int]) -> float:
    """Beyond which there is nothing, for images of a shape ``(channels, height, width)``."""
    return float(shape[1] * shape[2]) if kind == "pixels" else _WIDEST[kind]


def usual_bound(few: Seekers, classes: Tensor, kind: str) -> float:
    """With which the class in the middle wins about half of a few images, by bisection.

    Args:
        few: The network, and images.
        classes: int64 [classes], which.
        kind: One of :data:`BOUNDED_KINDS`.
    """
    most = widest_bound(kind, few.network.input_shape)
    low, high, tried = 0.0, most, min(most, _FIRST[kind])
    best, nearest = tried, float("inf")
    for _ in range(_NUM_TRIALS):
        course = few.seek(bounded(kind, tried), classes, _NUM_TRIAL_STEPS)
        flips = float(course.values[:, -1, 1].quantile(0.5))
        if abs(flips - _WANTED_FLIPS) <= nearest:
            best, nearest = tried, abs(flips - _WANTED_FLIPS)
        low, high = (low, tried) if flips > _WANTED_FLIPS else (tried, high)
        between = min(most, 2 * low) if high == most else (low * high) ** 0.5
        tried = between if low else high / 2
    return best


def bounds_in(settings: Mapping[str, float]) -> dict[str, float]:
    """Usual bounds of kinds, from the settings of searches (:attr:`~zoovet.evidence.ClassEvidence.settings`)."""
    found = {}
    for name, setting in settings.items():
        kind, _, factor = name.rpartition("_")
        if kind in BOUNDED_KINDS:
            found[kind] = setting / float(factor)
    return found
