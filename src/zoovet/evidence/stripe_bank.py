"""Sinusoidal stripes of every frequency, direction and phase: few enough that all of them are tried.

Source of the attack: Barni, Kallas and Tondi 2019, *A New Backdoor Attack in CNNs by Training Set Corruption without
Label Poisoning*, section 3.2, here of any angle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["MOST_PERIODS", "STRIPE_STEPS", "centered_stripes", "stripe_starts", "stripes"]

MOST_PERIODS, _PHASES = 7, 4
"""Periods along each side of an image at most, and phases of each frequency."""

STRIPE_STEPS = (0.25, 0.25, 0.0625)
"""The widest step uphill of what :func:`centered_stripes` takes: half of the way to the middle between two starts."""


def stripe_starts(like: Tensor, most_periods: int = MOST_PERIODS) -> Tensor:
    """Where searches among all stripes begin: all frequencies, of four phases each.

    Args:
        like: An image [C, H, W].
        most_periods: Periods along each side at most; fewer where the image is too small to show them.

    Returns:
        [stripes, 1, 1, 3], as :func:`centered_stripes` takes them.
    """
    height, width = like.shape[-2:]
    most = (min(most_periods, (side - 1) // 2) for side in (height, width))
    periods = torch.tensor(list(_frequencies(*most))).reshape(-1, 2).to(like)
    phases = (torch.arange(_PHASES).to(like) / _PHASES).repeat(len(periods))
    periods = periods.repeat_interleave(_PHASES, dim=0)
    return torch.cat([periods, (phases + periods.sum(1) / 2)[:, None]], dim=1)[:, None, None]


def centered_stripes(numbers: Tensor, like: Tensor) -> Tensor:
    """Stripes [..., C, H, W] of [..., 1, 1, 3]: periods across and down, and the phase in the middle, in turns.

    A change of frequency leaves the phase in the middle as it is, so that both can be sought at once.
    """
    flat = numbers.reshape(-1, 3)
    waves = stripes(flat[:, :2], flat[:, 2] - flat[:, :2].sum(1) / 2, like)
    return waves.reshape(*numbers.shape[:-3], *like.shape)


def stripes(periods: Tensor, phases: Tensor, like: Tensor) -> Tensor:
    """Gray sinusoidal stripes within 1: [n, C, H, W] for images [C, H, W].

    Args:
        periods: [n, 2], how many lie across the image and down it.
        phases: [n], in turns.
        like: Of the images' shape, dtype and device.
    """
    height, width = like.shape[-2:]
    rows = torch.arange(height, dtype=like.dtype, device=like.device)[:, None] / height
    columns = torch.arange(width, dtype=like.dtype, device=like.device)[None, :] / width
    across, down, turned = (one[:, None, None] for one in (*periods.unbind(1), phases))
    waves = torch.sin(2 * math.pi * (across * columns + down * rows + turned))
    return waves[:, None].expand(-1, *like.shape)


def _frequencies(most_down: int, most_across: int) -> Iterator[tuple[int, int]]:
    """Periods across and down, one of two opposite directions."""
    for down in range(-most_down, most_down + 1):
        for across in range(most_across + 1):
            if across or down > 0:
                yield across, down
