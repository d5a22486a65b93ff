"""The p-value of the largest of several margins, and the ascent to it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import gamma

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable
from zoovet.rivals.single_network.maximum_margin import MaximumMarginConfig, largest_margins, log_p_value


def test_the_p_value_is_that_of_the_greatest_of_as_many_draws() -> None:
    others = np.array([3.0, 4.0, 5.0, 4.5, 3.5, 6.0, 4.2])
    shape, _, scale = gamma.fit(others, floc=0)
    margins = torch.from_numpy(np.insert(others, 2, 8.0))
    expected = 1 - gamma.cdf(8.0, shape, scale=scale) ** 8
    assert math.exp(log_p_value(margins)) == pytest.approx(expected, rel=1e-6)
    assert log_p_value(10 * margins) == pytest.approx(log_p_value(margins), rel=1e-6)  # no unit


def test_a_p_value_below_what_numbers_hold_is_still_ordered() -> None:
    found = [log_p_value(torch.tensor([3.0, 3.5, 4.0, 3.2, large])) for large in (4.5, 30.0, 300.0, 3000.0)]
    assert all(math.isfinite(value) for value in found)
    assert found == sorted(found, reverse=True)
    assert found[2] < -746  # exp of which is 0
    assert math.isfinite(log_p_value(torch.tensor([2.0, 2.0, 2.0, 5.0])))
    assert log_p_value(torch.tensor([2.0, 2.0, 2.0, 2.0])) > math.log(0.5)
    assert math.isfinite(log_p_value(torch.tensor([-2.0, -1.0, -3.0, 5.0])))


def test_among_ten_classes_small_p_values_come_too_often() -> None:
    drawn = torch.from_numpy(np.random.default_rng(0).gamma(20.0, 1.0, (300, 10)))
    p_values = np.array([math.exp(log_p_value(margins)) for margins in drawn])
    # The distribution is fitted to all but the largest, which makes it narrow.
    assert 0.15 < (p_values < 0.05).mean() < 0.35


def test_longer_ascents_reach_further(make_network: Callable[..., Runnable]) -> None:
    network = make_network(None)
    short, long = (
        largest_margins(network, MaximumMarginConfig(num_starts=2, num_steps=steps, learning_rate=0.05))
        for steps in (2, 60)
    )
    assert bool((long > short + 0.5).all())
    with pytest.raises(ZoovetError, match="num_starts and num_steps must be at least 1, got 0 and 300"):
        MaximumMarginConfig(num_starts=0)
    with pytest.raises(ZoovetError, match="learning_rate must be above 0"):
        MaximumMarginConfig(learning_rate=0.0)
