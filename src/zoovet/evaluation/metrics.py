"""Figures of merit as pure functions on numpy arrays, and intervals that respect siblings.

A network counts as flagged where ``score >= threshold``; the positive class (label 1) is "trojaned". Predicted numbers
(accuracies) are compared with what was measured by Kendall's τ, R² and the mean absolute error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau
from sklearn.metrics import roc_curve as sklearn_roc_curve

from zoovet.errors import ZoovetError

__all__ = [
    "Interval",
    "RocCurve",
    "accuracy_at",
    "auc",
    "bootstrap_interval",
    "bootstrap_intervals",
    "calibration_error",
    "kendall_tau",
    "mean_absolute_error",
    "r_squared",
    "roc_curve",
    "true_positive_rate_at",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """A confidence interval: ``low`` and ``high`` bound the middle ``confidence`` of the resampled values."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The operating points of a detector, from flagging nothing to flagging everything.

    Attributes:
        false_positive_rates: [K] float64 share of healthy networks flagged, never falling, from 0 to 1.
        true_positive_rates: [K] float64 share of trojaned networks flagged, never falling, from 0 to 1.
        thresholds: [K] float64; flagging ``score >= thresholds[k]`` gives point k. The first is infinite.
    """

    false_positive_rates: FloatArray
    true_positive_rates: FloatArray
    thresholds: FloatArray


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: how often a trojaned network scores above a healthy one; ties count half.

    Args:
        scores: [n] numbers, larger for "more likely trojaned".
        labels: [n] booleans or 0 and 1.

    Raises:
        ZoovetError: Lengths differ, a score is NaN, a label is neither 0 nor 1, or only one class is there.
    """
    checked_scores, checked_labels = _check(scores, labels)
    _require_both_classes(checked_labels, "AUC")
    healthy, trojaned = np.sort(checked_scores[~checked_labels]), checked_scores[checked_labels]
    # by sorting rather than from a curve: a bootstrap calls this a thousand times
    num_below = np.searchsorted(healthy, trojaned, side="left") + np.searchsorted(healthy, trojaned, side="right")
    return float(num_below.mean() / (2 * len(healthy)))


def accuracy_at(scores: ArrayLike, labels: ArrayLike, threshold: float) -> float:
    """Share of networks told rightly when ``score >= threshold`` means trojaned.

    Raises:
        ZoovetError: Lengths differ, a score or the threshold is NaN, a label is neither 0 nor 1, or nothing is there.
    """
    checked_scores, checked_labels = _check(scores, labels)
    if np.isnan(threshold):
        raise ZoovetError("the threshold is NaN; choose one on validation scores")
    return float(np.mean((checked_scores >= threshold) == checked_labels))


def roc_curve(scores: ArrayLike, labels: ArrayLike) -> RocCurve:
    """All operating points, one a distinct score.

    Raises:
        ZoovetError: Lengths differ, a score is NaN, a label is neither 0 nor 1, or only one class is there.
    """
    checked_scores, checked_labels = _check(scores, labels)
    _require_both_classes(checked_labels, "a ROC curve")
    rates = sklearn_roc_curve(checked_labels, checked_scores, drop_intermediate=False)
    false_positive_rates, true_positive_rates, thresholds = (np.asarray(part, dtype=np.float64) for part in rates)
    return RocCurve(false_positive_rates, true_positive_rates, thresholds)


def true_positive_rate_at(scores: ArrayLike, labels: ArrayLike, *, false_positive_rate: float = 0.01) -> float:
    """The largest true-positive rate of a threshold whose false-positive rate is at most the limit.

    Nothing is interpolated: with fewer than 100 healthy networks, 1 % means that none is flagged.

    Raises:
        ZoovetError: Lengths differ, a score is NaN, a label is neither 0 nor 1, only one class is there, or the limit
            is outside [0, 1].
    """
    if not 0 <= false_positive_rate <= 1:
        raise ZoovetError(f"false_positive_rate must be between 0 and 1, got {false_positive_rate}")
    checked_scores, checked_labels = _check(scores, labels)
    _require_both_classes(checked_labels, "a true-positive rate at a false-positive rate")
    healthy, trojaned = np.sort(checked_scores[~checked_labels])[::-1], checked_scores[checked_labels]
    rates = np.arange(len(healthy) + 1) / len(healthy)
    num_allowed = int(np.searchsorted(rates, false_positive_rate, side="right")) - 1
    return 1.0 if num_allowed == len(healthy) else float(np.mean(trojaned > healthy[num_allowed]))


def calibration_error(scores: ArrayLike, labels: ArrayLike, *, num_bins: int = 10) -> float:
    """Expected calibration error: how far the share of trojaned networks is from the score, over bins of the score.

    Args:
        scores: [n] probabilities in [0, 1].
        labels: [n] booleans or 0 and 1.
        num_bins: Bins of equal width; empty ones count nothing, the others by their networks.

    Raises:
        ZoovetError: Lengths differ, a score is NaN or no probability, or a label is neither 0 nor 1.

    Source: Guo, Pleiss, Sun and Weinberger 2017, *On Calibration of Modern Neural Networks*, section 2, for the
    probability of one of two classes.
    """
    checked_scores, checked_labels = _check(scores, labels)
    if checked_scores.min() < 0 or checked_scores.max() > 1:
        raise ZoovetError(
            f"a calibration error needs probabilities, got scores from {checked_scores.min():g} to "
            f"{checked_scores.max():g}"
        )
    bins = np.minimum((checked_scores * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    differences = np.bincount(bins, weights=checked_scores - checked_labels, minlength=num_bins)
    return float(np.abs(differences).sum() / counts.sum())


def kendall_tau(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Kendall's τ-b: how far predictions order networks as targets do, from −1 to 1; 0 where all predictions tie.

    Args:
        predictions, targets: [n] finite numbers, n ≥ 2.

    Raises:
        ZoovetError: Lengths differ, a number is not finite, fewer than 2 networks, or targets that are all the same.

    Source: Kendall 1945, *The treatment of ties in ranking problems*; O(n log n) as in ``scipy.stats.kendalltau``.
    """
    guesses, truth = _check_targets(predictions, targets, num_least=2)
    _require_different(truth, "Kendall's τ")
    return 0.0 if np.ptp(guesses) == 0 else float(kendalltau(guesses, truth, variant="b").statistic)


def r_squared(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Share of the targets' variance that predictions account for: 1 at best, 0 as their mean does, or below.

    Args:
        predictions, targets: [n] finite numbers, n ≥ 2.

    Raises:
        ZoovetError: Lengths differ, a number is not finite, fewer than 2 networks, or targets that are all the same.
    """
    guesses, truth = _check_targets(predictions, targets, num_least=2)
    _require_different(truth, "R²")
    return float(1.0 - np.sum((guesses - truth) ** 2) / np.sum((truth - truth.mean()) ** 2))


def mean_absolute_error(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Mean of the errors' sizes, in the unit of the targets.

    Args:
        predictions, targets: [n] finite numbers, n ≥ 1.

    Raises:
        ZoovetError: Lengths differ, a number is not finite, or nothing is there.
    """
    guesses, truth = _check_targets(predictions, targets, num_least=1)
    return float(np.mean(np.abs(guesses - truth)))


def bootstrap_interval(
    statistic: Callable[[IndexArray], float],
    clusters: ArrayLike,
    generator: np.random.Generator,
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Interval of one figure; see :func:`bootstrap_intervals`."""
    (interval,) = bootstrap_intervals(
        lambda indices: (statistic(indices),),
        clusters,
        generator,
        num_resamples=num_resamples,
        confidence=confidence,
    )
    return interval


def bootstrap_intervals(
    statistics: Callable[[IndexArray], Sequence[float]],
    clusters: ArrayLike,
    generator: np.random.Generator,
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
) -> tuple[Interval, ...]:
    """Percentile bootstrap over clusters: whole clusters are drawn with replacement, so siblings stay together.

    Args:
        statistics: From the indices of the networks drawn (a cluster drawn twice gives its networks twice) to some
            figures, always equally many. All are measured on the same resamples, so that a difference is paired.
        clusters: [n] the cluster of each network, such as its base's identity.
        generator: Where the draws come from.
        num_resamples: Number of resamples.
        confidence: Share of the resampled values inside each interval.

    Returns:
        One interval a figure.

    A resample for which ``statistics`` raises ZoovetError (such as one without a trojaned network) is drawn again.

    Raises:
        ZoovetError: No networks, a confidence outside (0, 1), fewer than one resample, or figures that are undefined on
            more resamples than asked for.

    Source: Efron and Tibshirani 1993, *An Introduction to the Bootstrap*, chapters 8 (what to resample) and 13.
    """
    names = np.asarray(clusters)
    if names.ndim != 1 or len(names) == 0:
        raise ZoovetError(f"a bootstrap needs the cluster of each network as a list, got the shape {list(names.shape)}")
    if not 0 < confidence < 1:
        raise ZoovetError(f"confidence must be between 0 and 1, got {confidence}")
    if num_resamples < 1:
        raise ZoovetError(f"num_resamples must be at least 1, got {num_resamples}")
    _, inverse = np.unique(names, return_inverse=True)
    members, sizes = np.argsort(inverse, kind="stable"), np.bincount(inverse)
    starts = np.cumsum(sizes) - sizes
    values: list[Sequence[float]] = []
    num_undefined = 0
    while len(values) < num_resamples:
        drawn = generator.integers(len(sizes), size=len(sizes))
        ends = np.cumsum(sizes[drawn])
        places = np.repeat(starts[drawn] - ends + sizes[drawn], sizes[drawn]) + np.arange(ends[-1])
        try:
            values.append(statistics(members[places]))
        except ZoovetError as error:
            num_undefined += 1
            if num_undefined > num_resamples:
                raise ZoovetError(f"the bootstrap found too few resamples with a defined figure: {error}") from error
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(values, dtype=np.float64), [tail, 1 - tail], axis=0)
    return tuple(Interval(float(a), float(b), confidence) for a, b in zip(low, high, strict=True))


def _check(scores: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, BoolArray]:
    checked_scores = np.asarray(scores, dtype=np.float64)
    checked_labels: NDArray[Any] = np.asarray(labels)
    if checked_scores.ndim != 1 or checked_scores.shape != checked_labels.shape:
        raise ZoovetError(
            f"scores and labels must be lists of one length, got the shapes {list(checked_scores.shape)} "
            f"and {list(checked_labels.shape)}"
        )
    if len(checked_scores) == 0:
        raise ZoovetError("scores and labels are empty; at least one network is needed")
    if np.isnan(checked_scores).any():
        raise ZoovetError(f"score {int(np.argmax(np.isnan(checked_scores)))} of {len(checked_scores)} is NaN")
    known = np.isin(checked_labels, (0, 1))
    if not known.all():
        raise ZoovetError(f"labels must be 0 (healthy) or 1 (trojaned), got {checked_labels[~known][0]!r}")
    return checked_scores, checked_labels.astype(bool)


def _require_both_classes(labels: BoolArray, what: str) -> None:
    if labels.all() or not labels.any():
        raise ZoovetError(
            f"{what} needs healthy and trojaned networks, got only {'trojaned' if labels.all() else 'healthy'} ones "
            f"({len(labels)})"
        )


def _require_different(targets: FloatArray, what: str) -> None:
    if np.ptp(targets) == 0:
        raise ZoovetError(f"{what} needs targets that differ, got {targets[0]} for all {len(targets)} networks")


def _check_targets(predictions: ArrayLike, targets: ArrayLike, *, num_least: int) -> tuple[FloatArray, FloatArray]:
    guesses, truth = np.asarray(predictions, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if guesses.ndim != 1 or guesses.shape != truth.shape:
        raise ZoovetError(
            f"predictions and targets must be lists of one length, got the shapes {list(guesses.shape)} and "
            f"{list(truth.shape)}"
        )
    if len(guesses) < num_least:
        raise ZoovetError(f"predictions and targets must be of at least {num_least} networks, got {len(guesses)}")
    for name, values in (("prediction", guesses), ("target", truth)):
        if not np.isfinite(values).all():
            place = int(np.argmin(np.isfinite(values)))
            raise ZoovetError(f"{name} {place} of {len(values)} is {values[place]}, not a finite number")
    return guesses, truth
