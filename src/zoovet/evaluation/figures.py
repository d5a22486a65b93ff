"""The headline figures of an evaluation: what ``figures.json`` holds and the report's first lines say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.evaluation.metrics import Interval, accuracy_at, auc, bootstrap_intervals, true_positive_rate_at
from zoovet.evaluation.results import DetectionResults, RepairResults
from zoovet.files import write_json

__all__ = ["STATNN", "headline_figures", "write_figures"]

STATNN = "StatNN"
"""Name of the rival whose AUC ``statnn_auc`` is."""

FloatArray = NDArray[np.float64]


def headline_figures(
    detection: DetectionResults | None,
    repair: RepairResults | None,
    *,
    seed: int,
    wall_time_seconds: float,
    num_resamples: int = 1000,
) -> dict[str, Any]:
    """Figures of the parts that were evaluated, as JSON values.

    Args:
        detection: What was measured, or ``None`` to leave ``detection`` out.
        repair: What was measured, or ``None`` to leave ``repair`` out.
        seed: Seed of the run; the bootstrap draws come from it.
        wall_time_seconds: Wall time of the run.
        num_resamples: Resamples a bootstrap interval.

    Returns:
        ``detection`` (``auc``, ``accuracy``, ``tpr_at_1pct_fpr``, ``statnn_auc`` or null, ``auc_minus_statnn_auc``,
        ``threshold``, ``rivals``), ``repair`` (``clean_accuracy_before`` … ``ra_after`` of trojaned networks alone,
        ``healthy_accuracy_before`` and ``…_after``, and the accuracies lost), each with ``num_networks``,
        ``num_trojaned``, ``num_healthy`` and ``num_bases``; then ``seed`` and ``wall_time_seconds``. A figure's
        ``…_interval`` is [low, high], 95 %, from a bootstrap over bases. A figure of networks that are not there is
        null.

    Raises:
        ZoovetError: Detection was measured on healthy or on trojaned networks alone.
    """
    contents: dict[str, Any] = {}
    if detection is not None:
        contents["detection"] = _detection_figures(detection, np.random.default_rng([seed, 0]), num_resamples)
    if repair is not None:
        contents["repair"] = _repair_figures(repair, np.random.default_rng([seed, 1]), num_resamples)
    return {**contents, "seed": seed, "wall_time_seconds": round(wall_time_seconds, 1)}


def write_figures(path: Path, contents: Mapping[str, Any]) -> None:
    """Write figures as JSON, atomically."""
    write_json(path, dict(contents))


def _detection_figures(results: DetectionResults, generator: np.random.Generator, num_resamples: int) -> dict[str, Any]:
    scores = {results.detector: results.scores, **results.rivals}
    thresholds = {results.detector: results.threshold, **results.rival_thresholds}
    if len(scores) != 1 + len(results.rivals):
        raise ZoovetError(f"a rival has the detector's own name, {results.detector!r}; give it another")

    def measure(indices: NDArray[np.intp]) -> list[float]:
        labels = results.poisoned[indices]
        values = []
        for name, given in scores.items():
            values.append(auc(given[indices], labels))
            values.append(accuracy_at(given[indices], labels, thresholds[name]))
            values.append(true_positive_rate_at(given[indices], labels, false_positive_rate=0.01))
        return values + [values[0] - values[3 * rival] for rival in range(1, len(scores))]

    points = measure(np.arange(len(results)))
    intervals = bootstrap_intervals(measure, results.base_ids, generator, num_resamples=num_resamples)
    parts = []
    for position, name in enumerate(scores):
        named: dict[str, Any] = {}
        for offset, figure in enumerate(("auc", "accuracy", "tpr_at_1pct_fpr")):
            named |= _entry(figure, points[3 * position + offset], intervals[3 * position + offset])
        named["threshold"] = thresholds[name]
        if position > 0:
            place = 3 * len(scores) + position - 1
            named |= _entry("auc_of_detector_minus_this", points[place], intervals[place])
        parts.append(named)
    rivals = dict(zip(results.rivals, parts[1:], strict=True))
    statnn = rivals.get(STATNN, {})
    return {
        **parts[0],
        "statnn_auc": statnn.get("auc"),
        "statnn_auc_interval": statnn.get("auc_interval"),
        "auc_minus_statnn_auc": statnn.get("auc_of_detector_minus_this"),
        "auc_minus_statnn_auc_interval": statnn.get("auc_of_detector_minus_this_interval"),
        **_counts(results),
        "rivals": rivals,
    }


def _repair_figures(results: RepairResults, generator: np.random.Generator, num_resamples: int) -> dict[str, Any]:
    lost = results.clean_accuracy_before - results.clean_accuracy_after
    groups: list[tuple[NDArray[np.bool_], dict[str, FloatArray]]] = [
        (
            results.poisoned,
            {
                "clean_accuracy_before": results.clean_accuracy_before,
                "clean_accuracy_after": results.clean_accuracy_after,
                "clean_accuracy_lost": lost,
                "asr_before": results.asr_before,
                "asr_after": results.asr_after,
                "ra_before": results.ra_before,
                "ra_after": results.ra_after,
            },
        ),
        (
            ~results.poisoned,
            {
                "healthy_accuracy_before": results.clean_accuracy_before,
                "healthy_accuracy_after": results.clean_accuracy_after,
                "healthy_accuracy_lost": lost,
            },
        ),
    ]
    contents: dict[str, Any] = {}
    for mask, columns in groups:
        contents |= _means(columns, mask, results.base_ids, generator, num_resamples)
    return {
        **contents,
        "seconds_per_network": results.seconds_per_network,
        "num_images": results.num_images,
        **_counts(results),
    }


def _means(
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
        contents |= _entry(name, point, interval)
    return contents


def _entry(name: str, value: float, interval: Interval) -> dict[str, Any]:
    return {name: round(value, 6), f"{name}_interval": [round(interval.low, 6), round(interval.high, 6)]}


def _counts(results: DetectionResults | RepairResults) -> dict[str, int]:
    return {
        "num_networks": len(results),
        "num_trojaned": int(results.poisoned.sum()),
        "num_healthy": int((~results.poisoned).sum()),
        "num_bases": len(np.unique(results.base_ids)),
    }
