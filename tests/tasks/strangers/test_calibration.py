"""Probabilities are as often right as they say; a threshold keeps its rate of false alarms, or says that it cannot."""

from __future__ import annotations

import math

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.tasks.strangers.calibration import fitted_calibration, threshold_logit


def test_a_line_through_logits_makes_probabilities_right() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = 3 * torch.randn(4000, generator=generator)
    is_trojaned = torch.rand(4000, generator=generator) < torch.sigmoid(truth)
    calibration = fitted_calibration(5 * truth + 2, is_trojaned)  # much too sure of itself, and biased
    assert calibration.scale == pytest.approx(1 / 5, abs=0.02)
    assert calibration.shift == pytest.approx(-2 / 5, abs=0.15)
    probabilities = calibration(5 * truth + 2)
    for low in (0.1, 0.5, 0.8):
        own = (probabilities > low) & (probabilities < low + 0.1)
        assert float(is_trojaned[own].float().mean()) == pytest.approx(low + 0.05, abs=0.08)
    with pytest.raises(ZoovetError, match="needs healthy and trojaned networks, got 3 and 0"):
        fitted_calibration(torch.zeros(3), torch.zeros(3, dtype=torch.bool))


@pytest.mark.parametrize("false_alarms", [0.01, 0.05, 0.2])
def test_strangers_are_called_trojaned_no_more_often_than_asked(false_alarms: float) -> None:
    generator, rates = torch.Generator().manual_seed(1), []
    for _ in range(300):
        known, asked = torch.randn(150, generator=generator), torch.randn(200, generator=generator)
        rates.append(float((asked >= threshold_logit(known, false_alarms)).float().mean()))
    mean = sum(rates) / len(rates)
    assert false_alarms - 0.012 < mean <= false_alarms + 0.002


def test_rates_that_too_few_networks_vouch_for_follow_from_the_tail() -> None:
    generator, rates = torch.Generator().manual_seed(2), []
    for _ in range(300):
        known = -torch.rand(40, generator=generator, dtype=torch.float64).log()  # its tail is an exponential one
        threshold = threshold_logit(known, 0.005)
        assert threshold >= float(known.max())
        rates.append(math.exp(-threshold))
    assert 0.001 < sum(rates) / len(rates) < 0.01
    assert threshold_logit(known, 0.001) > threshold_logit(known, 0.005)


def test_what_is_no_rate_is_refused() -> None:
    with pytest.raises(ZoovetError, match="must lie between 0 and 1, got 1"):
        threshold_logit(torch.arange(50.0), 1.0)
    with pytest.raises(ZoovetError, match="needs healthy networks, got none"):
        threshold_logit(torch.empty(0), 0.1)
