"""Numbers of classes in units of their own network: how far each class stands out among the others."""

from __future__ import annotations

from torch import Tensor

__all__ = ["FLOORS", "own_units"]

FLOORS = {"margin": 0.1, "flips": 0.03, "probability": 0.03}
"""What is no deviation worth the name, of what is said of triggers (:data:`~zoovet.evidence.class_search.COURSE`)."""

_CONSISTENCY = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""


def own_units(values: Tensor, floor: float) -> Tensor:
    """(value - median) / (1.4826 · median absolute deviation + floor), over the classes.

    Of two classes, or of three, it says little: half of them or more decide what is usual.

    Args:
        values: [B, classes, …].
        floor: What is no deviation worth the name; above 0.
    """
    median = values.quantile(0.5, dim=1, keepdim=True)
    deviation = (values - median).abs().quantile(0.5, dim=1, keepdim=True)
    return (values - median) / (_CONSISTENCY * deviation + floor)
