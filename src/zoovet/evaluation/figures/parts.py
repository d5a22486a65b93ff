"""What the figures of several tasks have in common: means with intervals, and counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.metrics import Interval, bootstrap_intervals
from zoovet.evaluation.results import DetectionResults, RepairResults

__all__ = ["FloatArray", "counts", "entry", "means"]

FloatArray = NDArray[np.float64]


def means(
    columns: Mapping[str, FloatArray],
    mask: NDArray[np.bool_],
    base_ids: NDArray[np.int64],
    generator: np.random.Generator,
    num_resamples: int,
) -> dict[str, Any]:
    """Means over the networks of a mask, with intervals; null where there are none."""
    if not mask.any():
        return {key: None for name in columns for key in (name, f"{name}_interval")}
    values = np.stack([column[mask] for column in columns.values()])

    def measure(indices: NDArray[np.intp]) -> list[float]:
        return [float(mean) for mean in values[:, indices].mean(axis=1)]

    points = measure(np.arange(values.shape[1]))
    intervals = bootstrap_intervals(measure, base_ids[mask], generator, num_resamples=num_resamples)
    contents: dict[str, Any] = {}
    for name, point, interval in zip(columns, points, intervals, strict=True):
        contents |= entry(name, point, interval)
    return contents


def entry(name: str, value: float, interval: Interval) -> dict[str, Any]:
    """A figure and its interval, rounded to six digits."""
    return {name: round(value, 6), f"{name}_interval": [round(interval.low, 6), round(interval.high, 6)]}


def counts(results: DetectionResults | RepairResults) -> dict[str, int]:
    """How many networks the figures rest on."""
    return {
        "num_networks": len(results),
        "num_trojaned": int(results.poisoned.sum()),
        "num_healthy": int((~results.poisoned).sum()),
        "num_bases": len(np.unique(results.base_ids)),
    }
