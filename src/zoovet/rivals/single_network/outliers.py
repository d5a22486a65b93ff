"""How far a number stands out among its fellows, without regard to how far it does: medians and quartiles."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["interquartile_excess", "robust_deviations"]

_CONSISTENCY = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""


def robust_deviations(values: Tensor, floor: float | None = None) -> Tensor:
    """(value - median) / (1.4826 · median absolute deviation), over the last axis.

    Args:
        values: [..., classes].
        floor: The least deviation that is divided by; hardly more than 0 where left out.
    """
    median = values.quantile(0.5, dim=-1, keepdim=True)  # of an even number the middle of the two
    spread = _CONSISTENCY * (values - median).abs().quantile(0.5, dim=-1, keepdim=True)
    return (values - median) / spread.clamp_min(torch.finfo(values.dtype).tiny if floor is None else floor)


def interquartile_excess(values: Tensor) -> Tensor:
    """(value - third quartile) / (third - first quartile), over the last axis."""
    first, third = (values.quantile(share, dim=-1, keepdim=True) for share in (0.25, 0.75))
    return (values - third) / (third - first).clamp_min(torch.finfo(values.dtype).tiny)
