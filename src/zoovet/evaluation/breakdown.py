"""Figures by group of networks: by activation and by ASR band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoovet.evaluation.metrics import auc, kendall_tau, mean_absolute_error, r_squared
from zoovet.evaluation.results import DetectionResults, GeneralizationResults, RepairResults

__all__ = [
    "ASR_BANDS",
    "DetectionGroup",
    "PredictionGroup",
    "RepairGroup",
    "detection_groups",
    "prediction_groups",
    "repair_groups",
]

BoolArray = NDArray[np.bool_]

ASR_BANDS = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0))
"""Least ASR, and the ASR that is too much (but for the last band, which holds 1)."""


@dataclass(frozen=True)
class DetectionGroup:
    """How well a group is told apart.

    Attributes:
        name: For people.
        num_trojaned, num_healthy: Networks in it.
        aucs: AUC by detector, the evaluated one first; empty where the group has one class only.
        caught: Share of the trojaned ones that the detector flags; ``None`` without trojaned ones.
        false_alarms: Share of the healthy ones that the detector flags; ``None`` without healthy ones.
    """

    name: str
    num_trojaned: int
    num_healthy: int
    aucs: Mapping[str, float]
    caught: float | None
    false_alarms: float | None


@dataclass(frozen=True)
class RepairGroup:
    """Means over a group of networks before and after repair."""

    name: str
    num_networks: int
    clean_accuracy: tuple[float, float]
    asr: tuple[float, float]
    ra: tuple[float, float]


@dataclass(frozen=True)
class PredictionGroup:
    """How well the accuracies of a group are predicted.

    Attributes:
        name: For people.
        num_networks: Networks in it.
        figures: ``tau``, ``r_squared`` and ``mean_absolute_error`` by the key of a model; the last one alone where all
            networks have the same accuracy.
    """

    name: str
    num_networks: int
    figures: Mapping[str, Mapping[str, float]]


def detection_groups(results: DetectionResults) -> list[DetectionGroup]:
    """All networks; each activation's, where there are several; the trojaned by ASR band with all healthy ones."""
    everything = np.ones(len(results), dtype=bool)
    groups = [_detection_group("all", results, everything)]
    groups += [_detection_group(name, results, mask) for name, mask in _by_activation(results)]
    for name, mask in _by_band(results.asr):
        if (mask & results.poisoned).any():
            groups.append(_detection_group(name, results, ~results.poisoned | mask))
    return groups


def repair_groups(results: RepairResults) -> list[RepairGroup]:
    """Trojaned and healthy networks, each in all, by activation, and the trojaned ones by ASR band before repair."""
    groups = []
    for kind, mask in (("trojaned", results.poisoned), ("healthy", ~results.poisoned)):
        parts = [(kind, mask)]
        parts += [(f"{kind}, {name}", mask & part) for name, part in _by_activation(results)]
        if kind == "trojaned":
            parts += [(f"{kind}, {name}", mask & part) for name, part in _by_band(results.asr_before)]
        groups += [_repair_group(name, results, part) for name, part in parts if part.any()]
    return groups


def prediction_groups(results: GeneralizationResults) -> list[PredictionGroup]:
    """All networks, and each activation's where there are several."""
    everything = np.ones(len(results), dtype=bool)
    groups = [("all", everything), *_by_activation(results)]
    return [_prediction_group(name, results, mask) for name, mask in groups]


def _by_activation(results: DetectionResults | RepairResults | GeneralizationResults) -> list[tuple[str, BoolArray]]:
    activations = np.array(results.activations)
    names = sorted(set(results.activations))
    return [(str(name), activations == name) for name in names] if len(names) > 1 else []


def _by_band(asr: NDArray[np.float64]) -> list[tuple[str, BoolArray]]:
    last = ASR_BANDS[-1]
    return [
        (f"ASR {low:g} – {high:g}", (asr >= low) & ((asr < high) | ((low, high) == last))) for low, high in ASR_BANDS
    ]


def _detection_group(name: str, results: DetectionResults, mask: BoolArray) -> DetectionGroup:
    labels, flagged = results.poisoned[mask], results.scores[mask] >= results.threshold
    scores = {results.detector: results.scores, **results.rivals}
    both = bool(labels.any()) and not bool(labels.all())
    return DetectionGroup(
        name=name,
        num_trojaned=int(labels.sum()),
        num_healthy=int((~labels).sum()),
        aucs={detector: auc(given[mask], labels) for detector, given in scores.items()} if both else {},
        caught=float(flagged[labels].mean()) if labels.any() else None,
        false_alarms=float(flagged[~labels].mean()) if not labels.all() else None,
    )


def _repair_group(name: str, results: RepairResults, mask: BoolArray) -> RepairGroup:
    def means(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float]:
        return float(before[mask].mean()), float(after[mask].mean())

    return RepairGroup(
        name=name,
        num_networks=int(mask.sum()),
        clean_accuracy=means(results.clean_accuracy_before, results.clean_accuracy_after),
        asr=means(results.asr_before, results.asr_after),
        ra=means(results.ra_before, results.ra_after),
    )


def _prediction_group(name: str, results: GeneralizationResults, mask: BoolArray) -> PredictionGroup:
    measured = results.accuracies[mask]
    figures = {}
    for model in results.models:
        predicted = results.predictions[model.key][mask]
        own = {"mean_absolute_error": mean_absolute_error(predicted, measured)}
        if np.ptp(measured) > 0:
            own = {"tau": kendall_tau(predicted, measured), "r_squared": r_squared(predicted, measured), **own}
        figures[model.key] = own
    return PredictionGroup(name, int(mask.sum()), figures)
