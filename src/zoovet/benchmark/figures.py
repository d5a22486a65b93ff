"""A benchmark's results, read back and turned into figures: means over seeds, spreads, intervals over bases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.evaluation import DetectionResults, RepairResults, auc, bootstrap_intervals
from zoovet.evaluation.metrics import calibration_error, true_positive_rate_at

__all__ = [
    "Figure",
    "Scores",
    "auc_difference",
    "detection_figures",
    "mean_auc",
    "repair_differences",
    "repair_figures",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """A figure of several trainings.

    Attributes:
        mean: Over seeds.
        std: Over seeds (sample standard deviation); 0 with one.
        low, high: 95 % bootstrap interval of the mean over bases.
        num_seeds: Trainings.
    """

    mean: float
    std: float
    low: float
    high: float
    num_seeds: int


@dataclass(frozen=True)
class Scores:
    """One detector's scores of the same test networks, a row a seed.

    Attributes:
        results: As they were saved, one a seed.
        attacks: [n] family of each network's base.
        origins: [n] origin of each network.
    """

    results: Sequence[DetectionResults]
    attacks: NDArray[Any]
    origins: NDArray[Any]

    def __post_init__(self) -> None:
        _require_same_networks("detector", self.results)

    @property
    def poisoned(self) -> BoolArray:
        """[n] labels."""
        return self.results[0].poisoned

    @property
    def asr(self) -> FloatArray:
        """[n] ASR before anything is done."""
        return self.results[0].asr

    @property
    def bases(self) -> NDArray[np.int64]:
        """[n] base of each network."""
        return self.results[0].base_ids

    @property
    def table(self) -> FloatArray:
        """[seeds, n] scores."""
        return np.stack([one.scores for one in self.results])


def mean_auc(scores: Scores, which: BoolArray, *, seed: int = 0) -> Figure:
    """AUC on some networks."""
    return _figure(scores, which, auc, seed)


def auc_difference(one: Scores, other: Scores, *, seed: int = 0) -> Figure:
    """By how much the first detector's AUC is larger, paired by base; means over the seeds of each.

    Where the other one scored some networks only, on those.
    """
    places = {network: place for place, network in enumerate(one.results[0].network_ids)}
    tables = [one.table[:, [places[network] for network in other.results[0].network_ids]], other.table]
    labels = other.poisoned

    def difference(index: NDArray[np.intp]) -> tuple[float]:
        means = [np.mean([auc(row[index], labels[index]) for row in table]) for table in tables]
        return (float(means[0] - means[1]),)

    (interval,) = bootstrap_intervals(difference, other.bases, np.random.default_rng(seed), num_resamples=500)
    (mean,) = difference(np.arange(len(labels)))
    return Figure(mean, 0.0, interval.low, interval.high, len(one.results))


def detection_figures(scores: Scores, *, probability: bool, seed: int = 0) -> dict[str, Figure]:
    """``auc``, ``tpr`` at 5 % false positives, and ``ece`` where the scores are probabilities; of all networks."""
    every = np.ones(len(scores.poisoned), dtype=bool)
    figures = {
        "auc": mean_auc(scores, every, seed=seed),
        "tpr": _figure(scores, every, _tpr, seed),
    }
    if probability:
        figures["ece"] = _figure(scores, every, calibration_error, seed)
    return figures


def repair_figures(results: Sequence[RepairResults], *, seed: int = 0) -> dict[str, Figure]:
    """Means over trojaned networks after repair: ``asr``, ``ra``, ``clean_accuracy``, ``lost``; ``healthy_lost``.

    Args:
        results: Of one repairer on the same networks, one a seed.
        seed: Of the bootstrap.

    Raises:
        ZoovetError: They are of different networks.
    """
    _require_same_networks("repairer", results)
    poisoned = results[0].poisoned
    values = {
        "asr": ([one.asr_after for one in results], poisoned),
        "ra": ([one.ra_after for one in results], poisoned),
        "clean_accuracy": ([one.clean_accuracy_after for one in results], poisoned),
        "lost": ([one.clean_accuracy_before - one.clean_accuracy_after for one in results], poisoned),
        "healthy_lost": ([one.clean_accuracy_before - one.clean_accuracy_after for one in results], ~poisoned),
    }
    return {
        name: _mean_figure(np.stack(rows)[:, which], results[0].base_ids[which], seed)
        for name, (rows, which) in values.items()
        if which.any()
    }


def repair_differences(
    ours: Sequence[RepairResults], others: Sequence[RepairResults], *, seed: int = 0
) -> dict[str, Figure]:
    """By how much our ``asr``, ``ra`` and ``clean_accuracy`` are larger, paired by base; means over the seeds of each.

    On the trojaned networks that both repaired.
    """
    places = {network: place for place, network in enumerate(ours[0].network_ids)}
    pairs = [
        (places[network], place)
        for place, network in enumerate(others[0].network_ids)
        if network in places and others[0].poisoned[place]
    ]
    own, their = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    figures = {}
    for name in ("asr", "ra", "clean_accuracy"):
        means = [np.mean([getattr(one, f"{name}_after") for one in some], axis=0) for some in (ours, others)]
        difference = means[0][own] - means[1][their]
        figures[name] = _mean_figure(difference[None], others[0].base_ids[their], seed)
    return figures


def _require_same_networks(what: str, results: Sequence[DetectionResults] | Sequence[RepairResults]) -> None:
    """Check that the results of several seeds can be put in one table.

    Raises:
        ZoovetError: They cannot.
    """
    if len({one.network_ids for one in results}) != 1:
        raise ZoovetError(f"results of one {what} are of different networks; remove the older ones")


def _tpr(scores: FloatArray, labels: BoolArray) -> float:
    return true_positive_rate_at(scores, labels, false_positive_rate=0.05)


def _figure(scores: Scores, which: BoolArray, statistic: Callable[[FloatArray, BoolArray], float], seed: int) -> Figure:
    rows, labels, bases = scores.table[:, which], scores.poisoned[which], scores.bases[which]
    each = [statistic(row, labels) for row in rows]

    def mean(index: NDArray[np.intp]) -> tuple[float]:
        return (float(np.mean([statistic(row[index], labels[index]) for row in rows])),)

    (interval,) = bootstrap_intervals(mean, bases, np.random.default_rng(seed), num_resamples=500)
    return _of(each, interval.low, interval.high)


def _mean_figure(rows: FloatArray, bases: NDArray[np.int64], seed: int) -> Figure:
    def mean(index: NDArray[np.intp]) -> tuple[float]:
        return (float(rows[:, index].mean()),)

    (interval,) = bootstrap_intervals(mean, bases, np.random.default_rng(seed), num_resamples=500)
    return _of(rows.mean(axis=1).tolist(), interval.low, interval.high)


def _of(each: Sequence[float], low: float, high: float) -> Figure:
    std = float(np.std(each, ddof=1)) if len(each) > 1 else 0.0
    return Figure(float(np.mean(each)), std, low, high, len(each))
