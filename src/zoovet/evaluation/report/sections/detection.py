"""The section on detection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.breakdown import detection_groups
from zoovet.evaluation.report.plots.detection import roc_curves
from zoovet.evaluation.report.plots.histograms import histogram
from zoovet.evaluation.results import DetectionResults

__all__ = ["detection_section"]

_NUM_LISTED = 15


def detection_section(results: DetectionResults, figures: Mapping[str, Any]) -> dict[str, Any]:
    """ROC curves, score histograms, the table of detectors, the groups, and the networks told wrongly."""
    own = {key: figures[key] for key in figures if key != "rivals"}
    rows = {results.detector: own, **figures["rivals"]}
    scores = {results.detector: results.scores, **results.rivals}
    thresholds = {results.detector: results.threshold, **results.rival_thresholds}
    flagged = results.scores >= results.threshold
    histograms = [
        histogram(
            f"scores-{position}",
            {"healthy": given[~results.poisoned], "trojaned": given[results.poisoned]},
            x_label=f"score by {detector}",
            limits=_score_limits(given),
            threshold=thresholds[detector],
            size=(470, 210),
        )
        for position, (detector, given) in enumerate(scores.items())
    ]
    return {
        "results": results,
        "figures": own,
        "rows": rows,
        "roc": roc_curves(
            "roc", results.poisoned, scores, thresholds, {name: row["auc"] for name, row in rows.items()}
        ),
        "histograms": histograms,
        "groups": detection_groups(results),
        "missed": _wrong(results, results.poisoned & ~flagged, ascending=True),
        "false_alarms": _wrong(results, ~results.poisoned & flagged, ascending=False),
        "num_missed": int((results.poisoned & ~flagged).sum()),
        "num_false_alarms": int((~results.poisoned & flagged).sum()),
    }


def _score_limits(scores: NDArray[np.float64]) -> tuple[float, float]:
    """0 to 1 for probabilities, else as far as the scores reach."""
    low, high = float(scores.min()), float(scores.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))


def _wrong(results: DetectionResults, mask: NDArray[np.bool_], *, ascending: bool) -> list[dict[str, Any]]:
    """The networks told wrongly, the most wrong first."""
    places = np.flatnonzero(mask)
    order = np.argsort(results.scores[places] if ascending else -results.scores[places], kind="stable")
    return [
        {
            "network_id": results.network_ids[place],
            "activation": results.activations[place],
            "score": float(results.scores[place]),
            "asr": float(results.asr[place]),
        }
        for place in places[order][:_NUM_LISTED]
    ]
