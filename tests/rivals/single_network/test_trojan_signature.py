"""The gap of the greatest mean, by hand and against Dixon's table."""

from __future__ import annotations

import pytest
import torch

from zoovet.rivals.single_network.trojan_signature import gap_p_value, gap_ratio


def test_the_gap_by_hand() -> None:
    assert gap_ratio(torch.tensor([1.0, 5.0, 2.0, 0.0])) == pytest.approx(3 / 5)
    assert gap_ratio(torch.tensor([2.0, 2.0, 2.0])) == 0


@pytest.mark.parametrize(("num_classes", "critical"), [(5, 0.642), (10, 0.412)])
def test_p_values_are_dixons(num_classes: int, critical: float) -> None:
    assert gap_p_value(critical, num_classes, seed=0) == pytest.approx(0.05, abs=0.012)
    assert gap_p_value(1.0, num_classes, seed=0) < 0.001
