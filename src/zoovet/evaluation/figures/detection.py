"""The figures of detection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.evaluation.figures.parts import counts, entry
from zoovet.evaluation.metrics import accuracy_at, auc, bootstrap_intervals, true_positive_rate_at
from zoovet.evaluation.results import DetectionResults

__all__ = ["STATNN", "detection_figures"]

STATNN = "StatNN"
"""Name of the rival whose AUC ``statnn_auc`` is."""


def detection_figures(results: DetectionResults, generator: np.random.Generator, num_resamples: int) -> dict[str, Any]:
    """``auc``, ``accuracy``, ``tpr_at_1pct_fpr``, ``threshold``, the AUC's distance to StatNN's, and each rival's own.

    Raises:
        ZoovetError: A rival has the detector's name, or there are healthy or trojaned networks only.
    """
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
            named |= entry(figure, points[3 * position + offset], intervals[3 * position + offset])
        named["threshold"] = thresholds[name]
        if position > 0:
            place = 3 * len(scores) + position - 1
            named |= entry("auc_of_detector_minus_this", points[place], intervals[place])
        parts.append(named)
    rivals = dict(zip(results.rivals, parts[1:], strict=True))
    statnn = rivals.get(STATNN, {})
    return {
        **parts[0],
        "statnn_auc": statnn.get("auc"),
        "statnn_auc_interval": statnn.get("auc_interval"),
        "auc_minus_statnn_auc": statnn.get("auc_of_detector_minus_this"),
        "auc_minus_statnn_auc_interval": statnn.get("auc_of_detector_minus_this_interval"),
        **counts(results),
        "rivals": rivals,
    }
