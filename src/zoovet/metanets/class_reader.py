"""A reader of class evidence: a score for each class, of being a trojan's target, and one for the network.

It knows neither the order nor the number of classes: every class goes through the same layers, beside means and maxima
over all classes. One search that stands out may speak for itself: kinds of evidence are joined by their maximum, too.
Sources of the parts: Zaheer et al. 2017, *Deep Sets*, section 3 (layers that do not know an order).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError

__all__ = ["ClassReader", "ClassReaderConfig"]

_EMBEDDING = 8
_FIRST_BIAS = -2.0
_FIRST_SIZE = 0.1


@dataclass(frozen=True, kw_only=True)
class ClassReaderConfig:
    """Its size.

    Attributes:
        width: Of what is known of a class.
        kind_width: Of what is known of one kind of evidence.
        dropout: Share of these that training drops.

    Raises:
        ZoovetError: A width below 1, or a share outside [0, 1).
    """

    width: int = 48
    kind_width: int = 32
    dropout: float = 0.2

    def __post_init__(self) -> None:
        for name in ("width", "kind_width"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")
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
        width, kind_width, dropout = config.width, config.kind_width, config.dropout
        self.kinds = nn.Parameter(_FIRST_SIZE * torch.randn(num_kinds, _EMBEDDING))
        self.of_kind = nn.Sequential(
            nn.Linear(num_features + _EMBEDDING, kind_width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(kind_width, kind_width),
            nn.GELU(),
        )
        self.of_class = nn.Sequential(
            nn.Linear(num_kinds * num_features + 2 * kind_width, width), nn.GELU(), nn.Dropout(dropout)
        )
        self.among_classes = nn.Sequential(
            nn.Linear(3 * width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 1)
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
        there = present[:, None, :, None].to(values)
        values = values * there
        kinds = self.kinds.expand(*values.shape[:3], -1)
        each = self.of_kind(torch.cat([values, kinds], dim=-1))
        mean = (each * there).sum(2) / there.sum(2).clamp_min(1)
        most = each.masked_fill(~present[:, None, :, None], torch.finfo(each.dtype).min).amax(2)
        classes = self.of_class(torch.cat([values.flatten(2), mean, most], dim=-1))
        pooled = torch.cat([classes.mean(1, keepdim=True), classes.amax(1, keepdim=True)], dim=-1)
        around = pooled.expand(-1, classes.shape[1], -1)
        scores = self.among_classes(torch.cat([classes, around], dim=-1)).squeeze(-1)
        return scores, scores.logsumexp(1) + self.bias
