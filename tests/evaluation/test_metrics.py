from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from zoovet.errors import ZoovetError
from zoovet.evaluation.metrics import (
    accuracy_at,
    auc,
    bootstrap_interval,
    kendall_tau,
    mean_absolute_error,
    r_squared,
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


def slow_kendall_tau(predictions, targets):
    """Every pair of networks, one by one; a pair that ties on one side counts on the other side only."""
    signs = [
        (np.sign(predictions[i] - predictions[j]), np.sign(targets[i] - targets[j]))
        for i in range(len(targets))
        for j in range(i)
    ]
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    return sum(a * b for a, b in signs) / math.sqrt(untied[0] * untied[1])


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


@pytest.mark.parametrize("seed", range(3))
def test_kendalls_tau_counts_pairs_and_corrects_for_ties(seed):
    generator = np.random.default_rng(seed)
    targets = np.round(generator.uniform(size=40), 1)
    predictions = np.round(targets + generator.normal(0, 0.2, size=40), 1)
    assert kendall_tau(predictions, targets) == pytest.approx(slow_kendall_tau(predictions, targets), abs=1e-12)
    assert 0.2 < kendall_tau(predictions, targets) < 0.9


def test_kendalls_tau_known_by_hand():
    assert kendall_tau([0.1, 0.2, 0.3], [0.5, 0.6, 0.9]) == pytest.approx(1.0)
    assert kendall_tau([3, 2, 1], [0.5, 0.6, 0.9]) == pytest.approx(-1.0)
    assert kendall_tau([2, 1, 3, 4], [1, 2, 3, 4]) == pytest.approx(4 / 6)
    assert kendall_tau([0.5, 0.5, 0.5], [0.1, 0.2, 0.3]) == 0.0


def test_r_squared_and_mean_absolute_error_against_sklearn_and_by_hand():
    generator = np.random.default_rng(0)
    targets, predictions = generator.uniform(size=30), generator.uniform(size=30)
    assert r_squared(predictions, targets) == pytest.approx(r2_score(targets, predictions), abs=1e-12)
    assert r_squared(targets, targets) == 1.0
    assert r_squared(np.full(30, targets.mean()), targets) == pytest.approx(0.0, abs=1e-12)
    assert mean_absolute_error([0.1, 0.5, 0.7], [0.2, 0.5, 0.3]) == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("metric", [kendall_tau, r_squared, mean_absolute_error])
def test_bad_predictions_are_named(metric):
    with pytest.raises(ZoovetError, match=r"lists of one length, got the shapes \[1\] and \[2\]"):
        metric([0.1], [0.1, 0.2])
    with pytest.raises(ZoovetError, match=r"at least [12] networks?, got 0"):
        metric([], [])
    with pytest.raises(ZoovetError, match="prediction 1 of 2 is nan, not a finite number"):
        metric([0.1, math.nan], [0.1, 0.2])
    with pytest.raises(ZoovetError, match="target 0 of 2 is inf, not a finite number"):
        metric([0.1, 0.2], [math.inf, 0.2])


def test_figures_that_need_a_spread_say_so():
    with pytest.raises(ZoovetError, match=r"Kendall's τ needs targets that differ, got 0\.5 for all 3 networks"):
        kendall_tau([0.1, 0.2, 0.3], [0.5, 0.5, 0.5])
    with pytest.raises(ZoovetError, match=r"R² needs targets that differ, got 0\.5 for all 2 networks"):
        r_squared([0.1, 0.2], [0.5, 0.5])
    with pytest.raises(ZoovetError, match="at least 2 networks, got 1"):
        kendall_tau([0.1], [0.5])


def test_the_bootstrap_of_kendalls_tau_holds_it():
    generator = np.random.default_rng(0)
    targets = generator.uniform(size=60)
    predictions = targets + generator.normal(0, 0.1, size=60)
    interval = bootstrap_interval(
        lambda i: kendall_tau(predictions[i], targets[i]), np.arange(60) // 3, np.random.default_rng(1)
    )
    assert interval.low < kendall_tau(predictions, targets) < interval.high
    assert interval.high - interval.low < 0.3


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


def test_bootstrap_draws_every_member_of_clusters_of_different_sizes():
    clusters = ["b", "a", "c", "b", "b", "a"]
    members = [[1, 5], [0, 3, 4], [2]]
    drawn = []
    bootstrap_interval(
        lambda indices: drawn.append(indices.tolist()) or 0.0, clusters, np.random.default_rng(0), num_resamples=20
    )
    generator = np.random.default_rng(0)
    for indices in drawn:
        assert indices == [index for cluster in generator.integers(3, size=3) for index in members[cluster]]
    assert len({len(indices) for indices in drawn}) > 1


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
