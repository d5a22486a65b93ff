"""Operations whose parameters hold a number for each channel, for B networks at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from zoovet.networks.values import Values

__all__ = ["many_per_channel"]

Plain = Callable[[Mapping[str, Any], Sequence[Tensor], Mapping[str, Tensor]], Tensor]
Many = Callable[[Mapping[str, Any], Sequence[Values], Mapping[str, Tensor], int], Values]


def many_per_channel(plain: Plain) -> Many:
    """For B networks, what one operation of B times the channels computes.

    Args:
        plain: For one network; treats channels, the first axis, each alone, and has parameters [channels].
    """

    def many(
        attributes: Mapping[str, Any], values: Sequence[Values], parameters: Mapping[str, Tensor], num_networks: int
    ) -> Values:
        flat = {role: parameter.flatten() for role, parameter in parameters.items()}
        return Values(plain(attributes, [values[0].folded(num_networks)], flat), "folded")

    return many
