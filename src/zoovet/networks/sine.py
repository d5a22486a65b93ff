"""The activation of SIRENs as a module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Sine"]


class Sine(nn.Module):
    """sin(w0 · x), the activation of a SIREN (Sitzmann et al. 2020, *Implicit Neural Representations*, section 3).

    Args:
        w0: Factor before the sine.
    """

    def __init__(self, w0: float = 30.0) -> None:
        super().__init__()
        self.w0 = float(w0)

    def forward(self, values: Tensor) -> Tensor:
        """Any shape in, the same shape out."""
        return torch.sin(self.w0 * values)

    def extra_repr(self) -> str:
        """What ``print`` shows between the parentheses."""
        return f"w0={self.w0:g}"
