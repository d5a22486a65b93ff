"""Calibrated probabilities are as often right as they say, and never turn the order around."""

from __future__ import annotations

import torch

from zoovet.evaluation.metrics import calibration_error
from zoovet.tasks.calibration import Calibration
from zoovet.tasks.calibration_fitting import fit_calibration


def drawn(scale: float, shift: float, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose true probability is sigmoid(scale * logit + shift), and labels drawn by it."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, generator=generator) * 2
    labels = torch.rand(count, generator=generator) < torch.sigmoid(scale * logits + shift)
    return logits, labels


def test_the_line_that_labels_were_drawn_by_is_found() -> None:
    for scale, shift in ((3.0, -1.0), (0.5, 0.7)):
        logits, labels = drawn(scale, shift)
        line = fit_calibration(logits, labels)
        assert abs(line.scale - scale) < 0.25
        assert abs(line.shift - shift) < 0.2
        before = calibration_error(torch.sigmoid(logits).numpy(), labels.numpy())
        after = calibration_error(line(logits).numpy(), labels.numpy())
        assert after < 0.03 < before


def test_no_error_on_few_networks_is_no_certainty() -> None:
    line = fit_calibration(torch.tensor([-3.0, -2.0, 2.0, 3.0]), torch.tensor([False, False, True, True]))
    assert 0.6 < line(torch.tensor([2.5])).item() < 0.95


def test_an_order_that_is_the_wrong_way_stays() -> None:
    logits, labels = drawn(-2.0, 0.0)
    assert fit_calibration(logits, labels) == Calibration()
    assert torch.equal(Calibration()(logits), torch.sigmoid(logits))
