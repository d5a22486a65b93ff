"""Calibration: a line through a detector's logits, so that its probabilities are as often right as they say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Calibration"]


@dataclass(frozen=True)
class Calibration:
    """Probability of a trojan from a logit z: sigmoid(scale * z + shift).

    Attributes:
        scale: Above 0, so that the order of networks stays.
        shift: Any number.
    """

    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, logits: Tensor) -> Tensor:
        """Probabilities, of the logits' shape and type."""
        return torch.sigmoid(self.scale * logits + self.shift)
