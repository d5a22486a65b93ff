"""How the learning rate goes in a training: up, down, and down again in the closing share."""

from __future__ import annotations

import math

__all__ = ["is_closing", "learning_rate_factor"]


def learning_rate_factor(
    step: int, fraction: float, warmup_steps: int, *, closing_share: float = 0.0, closing_factor: float = 1.0
) -> float:
    """Share of the highest learning rate: a linear rise over the warm-up times a cosine from 1 to 0, then the closing.

    Args:
        step: Optimizer steps done.
        fraction: How much of the training is done, in [0, 1].
        warmup_steps: Length of the rise.
        closing_share: The last share of the training, which has a cosine of its own.
        closing_factor: What that starts from.
    """
    before = 1.0 - closing_share
    if is_closing(fraction, closing_share):
        return closing_factor * _cosine((fraction - before) / closing_share)
    rise = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    return rise * _cosine(fraction / before)


def is_closing(fraction: float, share: float) -> bool:
    """Whether a fraction of a training lies in its last share."""
    return share > 0 and fraction >= 1.0 - share


def _cosine(fraction: float) -> float:
    """From 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * fraction))
