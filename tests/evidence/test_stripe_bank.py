"""The bank of stripes holds all frequencies that an image can show."""

from __future__ import annotations

import torch

from zoovet.evidence.stripe_bank import centered_stripes, stripe_starts


def test_the_bank_has_all_frequencies_that_an_image_can_show() -> None:
    assert stripe_starts(torch.zeros(3, 32, 32)).shape == (4 * 112, 1, 1, 3)
    small = centered_stripes(stripe_starts(torch.zeros(1, 5, 5)), torch.zeros(1, 5, 5))
    assert small.shape == (4 * 12, 1, 5, 5)
    assert float(small.flatten(1).std(1).min()) > 0.1
    assert len(stripe_starts(torch.zeros(1, 32, 32), most_periods=2)) == 4 * 12
