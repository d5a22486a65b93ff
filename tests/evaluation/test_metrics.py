from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from zoovet.errors import ZoovetError
from zoovet.evaluation.metrics import (
    accuracy_at,
    auc,
    bootstrap_interval,
    roc_curve,
    true_positive_rate_at,
)


def slow_auc(scores, labels):
    """Every pair of a trojaned and a healthy network, counted one by one."""
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, positive in zip(scores, labels, strict=True)
        if positive
        for low, other in zip(scores, labels, strict=True)
        if not other
    ]
    return sum(pairs) / len(pairs)


def slow_true_positive_rate(scores, labels, limit):
    best = 0.0
    for threshold in [*scores, math.inf]:
        flagged = [score >= threshold for score in scores]
        false = sum(f for f, label in zip(flagged, labels, strict=True) if not label)
        true = sum(f for f, label in zip(flagged, labels, strict=True) if label)
        if false / sum(not label for label in labels) <= limit:
            best = max(best, true / sum(labels))
    return best


def random_case(seed, num=40, digits=1):
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(num) % 2 == 0)
    return np.round(generator.normal(size=num) + labels, digits), labels


@pytest.mark.parametrize("seed", range(5))
def test_auc_counts_pairs_and_gives_ties_half(seed):
    scores, labels = random_case(seed)
    assert len(np.unique(scores)) < len(scores)  # there are ties to count
    assert auc(scores, labels) == pytest.approx(slow_auc(scores, labels), abs=1e-12)
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_auc_known_by_hand():
    assert auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == 0.75
    assert auc([1, 1, 1, 1], [0, 1, 0, 1]) == 0.5
    assert auc([0.9, 0.1], [False, True]) == 0.0


def test_accuracy_counts_a_score_on_the_threshold_as_flagged():
    assert accuracy_at([0.2, 0.5, 0.5, 0.7], [0, 1, 0, 1], 0.5) == 0.75
    assert accuracy_at([0.2, 0.5, 0.5, 0.7], [0, 1, 0, 1], 0.51) == 0.75
    assert accuracy_at([0.2, 0.5, 0.5, 0.7], [0, 1, 0, 1], 0.1) == 0.5


@pytest.mark.parametrize("limit", [0.0, 0.01, 0.05, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_true_positive_rate_is_the_largest_within_the_limit(seed, limit):
    scores, labels = random_case(seed)
    assert true_positive_rate_at(scores, labels, false_positive_rate=limit) == slow_true_positive_rate(
        scores, labels, limit
    )


def test_one_percent_of_a_hundred_healthy_networks_is_one():
    scores = np.concatenate([np.arange(100), [98.5, 97.5]])
    labels = np.arange(102) >= 100
    assert true_positive_rate_at(scores, labels, false_positive_rate=0.01) == 0.5
    assert true_positive_rate_at(scores, labels, false_positive_rate=0.02) == 1.0
    assert true_positive_rate_at(scores, labels, false_positive_rate=0.0099) == 0.0


def test_roc_curve_runs_from_corner_to_corner():
    curve = roc_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    assert curve.false_positive_rates.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.true_positive_rates.tolist() == [0, 0.5, 0.5, 1, 1]
    assert curve.thresholds.tolist() == [math.inf, 0.8, 0.4, 0.35, 0.1]


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, 0.2], [0, 0], r"only healthy ones \(2\)"),
        ([0.1, 0.2], [1, 1], r"only trojaned ones \(2\)"),
        ([0.1, math.nan], [0, 1], "score 1 of 2 is NaN"),
        ([0.1], [0, 1], r"shapes \[1\] and \[2\]"),
        ([[0.1, 0.2]], [[0, 1]], "lists of one length"),
        ([], [], "empty"),
        ([0.1, 0.2], [0, 2], "labels must be 0 .* got .*2"),
    ],
)
@pytest.mark.parametrize("metric", [auc, roc_curve, true_positive_rate_at])
def test_bad_input_is_named(metric, scores, labels, message):
    with pytest.raises(ZoovetError, match=message):
        metric(scores, labels)


def test_bad_thresholds_and_limits_are_named():
    with pytest.raises(ZoovetError, match="threshold is NaN"):
        accuracy_at([0.1], [1], math.nan)
    with pytest.raises(ZoovetError, match=r"between 0 and 1, got 1\.5"):
        true_positive_rate_at([0.1, 0.2], [0, 1], false_positive_rate=1.5)


def test_bootstrap_of_a_mean_is_as_wide_as_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    interval = bootstrap_interval(
        lambda indices: float(values[indices].mean()), np.arange(400), np.random.default_rng(1), num_resamples=2000
    )
    half_width = 1.96 * values.std() / math.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.2 * half_width)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.2 * half_width)


def test_bootstrap_keeps_siblings_together():
    clusters = np.array(["a", "b", "a", "c", "b", "c"])
    drawn = []
    bootstrap_interval(
        lambda indices: drawn.append(indices) or 0.0, clusters, np.random.default_rng(0), num_resamples=20
    )
    for indices in drawn:
        assert len(indices) == 6
        counts = np.bincount(indices, minlength=6)
        assert counts[0] == counts[2]
        assert counts[1] == counts[4]
        assert counts[3] == counts[5]
    assert any(len(set(indices)) < 6 for indices in drawn)


def test_bootstrap_widens_when_siblings_agree():
    values = np.repeat(np.random.default_rng(0).normal(size=100), 4)

    def width(clusters):
        interval = bootstrap_interval(lambda i: float(values[i].mean()), clusters, np.random.default_rng(1))
        return interval.high - interval.low

    assert width(np.repeat(np.arange(100), 4)) > 1.6 * width(np.arange(400))


def test_bootstrap_draws_again_where_the_figure_is_undefined():
    scores, labels = np.array([0.1, 0.9, 0.2]), np.array([0, 1, 0])
    interval = bootstrap_interval(
        lambda i: auc(scores[i], labels[i]), [0, 1, 2], np.random.default_rng(0), num_resamples=50
    )
    assert (interval.low, interval.high) == (1.0, 1.0)
    with pytest.raises(ZoovetError, match=r"too few resamples .* only healthy"):
        bootstrap_interval(lambda i: auc(scores[i], np.zeros(len(i))), [0, 1, 2], np.random.default_rng(0))


def test_bootstrap_is_repeatable_and_checks_its_settings():
    values = np.arange(10.0)
    first, second = (bootstrap_interval(lambda i: values[i].mean(), values, np.random.default_rng(3)) for _ in range(2))
    assert first == second
    with pytest.raises(ZoovetError, match="confidence must be"):
        bootstrap_interval(lambda i: 0.0, [1, 2], np.random.default_rng(0), confidence=1.0)
    with pytest.raises(ZoovetError, match="num_resamples must be at least 1, got 0"):
        bootstrap_interval(lambda i: 0.0, [1, 2], np.random.default_rng(0), num_resamples=0)
    with pytest.raises(ZoovetError, match="cluster of each network"):
        bootstrap_interval(lambda i: 0.0, [], np.random.default_rng(0))
