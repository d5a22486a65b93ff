"""A reader of class evidence: a score for each class, of being a trojan's target, and one for the network.

It knows neither the order nor the number of classes, and every kind of evidence goes through the same layers. One
search that stands out may speak for itself: a class's score is a soft maximum over kinds, the network's one over
classes. What all kinds say together is a mean. Readers that join the kinds' numbers in one layer have many more
parameters and were worse at images that no training network knew. Source of the parts: Zaheer et al. 2017, *Deep Sets*,
section 3 (sums over what has no order).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError

__all__ = ["ClassReader", "ClassReaderConfig"]

_EMBEDDING = 4
_FIRST_BIAS = -2.0
_FIRST_SIZE = 0.1


@dataclass(frozen=True, kw_only=True)
class ClassReaderConfig:
    """Its size.

    Attributes:
        width: Of what is known of one kind of evidence.
        dropout: Share of it that training drops.

    Raises:
        ZoovetError: A width below 1, or a share outside [0, 1).
    """

    width: int = 16
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ZoovetError(f"width must be at least 1, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ZoovetError(f"dropout must be at least 0 and below 1, got {self.dropout}")


class ClassReader(nn.Module):
    """From evidence of classes to scores.

    Args:
        num_kinds: Kinds of evidence.
        num_features: Numbers of each.
        config: Its size.
    """

    def __init__(self, num_kinds: int, num_features: int, config: ClassReaderConfig) -> None:
        super().__init__()
        self.kinds = nn.Parameter(_FIRST_SIZE * torch.randn(num_kinds, _EMBEDDING))
        self.alone, self.together = (
            nn.Sequential(
                nn.Linear(num_features + _EMBEDDING, config.width),
                nn.GELU(),
                nn.Dropout(config.dropout),
                nn.Linear(config.width, 1),
            )
            for _ in range(2)
        )
        self.bias = nn.Parameter(torch.tensor(_FIRST_BIAS))

    def forward(self, values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of B networks that have equally many classes.

        Args:
            values: [B, classes, kinds, features].
            present: bool [B, kinds]; what is said of other kinds is not read.

        Returns:
            Scores of being a target [B, classes], and logits of a trojan [B].
        """
        there = present[:, None]
        each = torch.cat([values, self.kinds.expand(*values.shape[:3], -1)], dim=-1)
        alone = self.alone(each).squeeze(-1).masked_fill(~there, torch.finfo(values.dtype).min)
        together = self.together(each).squeeze(-1).masked_fill(~there, 0.0)
        scores = alone.logsumexp(2) + together.sum(2) / there.sum(2).clamp_min(1)
        return scores, scores.logsumexp(1) - math.log(values.shape[1]) + self.bias
