"""Deviations by hand."""

from __future__ import annotations

import torch

from zoovet.rivals.single_network.outliers import interquartile_excess, robust_deviations


def test_deviations_from_the_median_by_hand() -> None:
    values = torch.tensor([[10.0, 12.0, 11.0, 9.0, 1.0], [3.0, 3.0, 3.0, 4.0, 3.0]])
    # Median 10, deviations 0 1 1 2 9: median absolute deviation 1; then 0, which the floor replaces.
    torch.testing.assert_close(robust_deviations(values[0]), torch.tensor([0.0, 2.0, 1.0, -1.0, -9.0]) / 1.4826)
    torch.testing.assert_close(robust_deviations(values[1], 0.5), torch.tensor([0.0, 0.0, 0.0, 2.0, 0.0]))
    assert robust_deviations(values).isfinite().all()


def test_distances_from_the_third_quartile_by_hand() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0])
    torch.testing.assert_close(interquartile_excess(values), torch.tensor([-3.0, -2.0, -1.0, 0.0, 6.0]) / 2)
