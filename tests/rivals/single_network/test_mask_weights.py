"""The weight of a mask's size follows success, and a search ends."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.rivals.single_network.mask_weights import MaskWeights, MaskWeightsConfig


def test_the_weight_of_a_masks_size_follows_success_and_a_search_ends() -> None:
    config = MaskWeightsConfig(patience=2, stop_patience=3, initial_weight=1.0, weight_factor=4.0)
    weights, size = MaskWeights(2, config), 9.0
    seen, searched = [], []
    #   Class 0 fails, succeeds until its weight has grown, fails until it has shrunk, succeeds; class 1 always fails.
    for works in (False, False, True, True, True, True, True, False, False, True):
        size -= works and len(seen) < 6
        means, norms = torch.tensor([size, 9.0]), torch.tensor([size + 0.5, 8.0])
        weights.update(means.double(), torch.tensor([0.99 if works else 0.98, 0.5]).double(), norms.double())
        seen.append(weights.values[0].item())
        searched.append(weights.is_searched.tolist())
    # What was counted before the weight began is forgotten, but for the epoch at which it begins.
    assert seen == [0, 0, 0, 1, 4, 4, 16, 16, 2, 2]
    assert searched == [[True, True]] * 8 + [[True, True]] + [[False, True]]  # three epochs without a smaller mask
    assert weights.norms.tolist() == [5.5, 8.0]
    weights.update(torch.ones(2).double(), torch.ones(2).double(), torch.tensor([1.0, 7.0]).double())
    assert weights.norms.tolist() == [5.5, 7.0]  # what comes after the end does not count


def test_schedules_out_of_range_are_refused() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"success": 0.0}, "success must be a share above 0 and at most 1, got 0.0"),
        ({"weight_factor": 1.0}, "initial_weight must be above 0 and weight_factor above 1, got 0.001 and 1.0"),
        ({"patience": 0}, "patience and stop_patience must be at least 1, got 0 and 25"),
    )
    for options, text in cases:
        with pytest.raises(ZoovetError, match=text):
            MaskWeightsConfig(**options)
