"""Linear maps and MLPs as ScaleGMN has them: explicit initial values, halves that can be called apart.

Shapes: R rows (nodes or edges), d features, h hidden features of an MLP.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.metanets.config import ScaleGMNConfig
from zoovet.metanets.fused import LayerNormParameters, activated_linear

__all__ = ["MLP", "Linear", "MLPTail"]


class Linear(nn.Module):
    """A linear map whose initial values come from an explicit generator.

    Attributes:
        weight: [out, in], initially normal with standard deviation ``gain`` / √in.
        bias: [out], initially normal around ``bias_value``, or ``None``.
    """

    def __init__(
        self,
        in_width: int,
        out_width: int,
        *,
        bias: bool = True,
        gain: float = 1.0,
        bias_value: float = 0.0,
        bias_deviation: float = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_width, in_width))
        self.bias = nn.Parameter(torch.empty(out_width)) if bias else None
        self.gain = gain
        self.bias_value = bias_value
        self.bias_deviation = bias_deviation

    def initialize(self, generator: torch.Generator | None) -> None:
        """Draw the initial values."""
        deviation = self.gain / math.sqrt(self.weight.shape[1])
        nn.init.normal_(self.weight, std=deviation, generator=generator)
        if self.bias is not None:
            nn.init.normal_(self.bias, self.bias_value, self.bias_deviation, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return F.linear(x, self.weight, self.bias)


class MLPTail(nn.Module):
    """What follows an MLP's first linear map: LayerNorm where configured, SiLU, dropout where configured, Linear."""

    def __init__(self, out_width: int, config: ScaleGMNConfig, *, bias_value: float = 0.0) -> None:
        super().__init__()
        hidden = config.mlp_width
        self.norm = nn.LayerNorm(hidden, eps=1e-5) if config.layer_norm else None
        self.last = Linear(hidden, out_width, bias_value=bias_value)
        self.dropout = nn.Dropout(config.mlp_dropout)

    def activate(
        self,
        before: Tensor,
        scale: Tensor | None = None,
        shift: Tensor | None = None,
        last: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        symmetric: bool = False,
    ) -> Tensor:
        """Hidden features of scale · before + shift, or a linear map of them.

        Args:
            before: [R, h].
            scale: [R, 1] or ``None`` for 1.
            shift: [h] or [R, h], or ``None`` for 0 (then without ``scale`` and ``symmetric``).
            last: [out, h] of the linear map, or ``None`` for none.
            bias: [out] of the linear map, or ``None``.
            symmetric: Add the hidden features of −scale · before + shift.

        Returns:
            [R, out], or [R, h].
        """
        if not (self.training and self.dropout.p > 0):
            return activated_linear(before, scale, shift, self.norm_parameters, last, bias, symmetric=symmetric)
        before = before if scale is None else before * scale
        hidden = self._hidden(before if shift is None else shift + before)
        if symmetric:
            assert shift is not None
            hidden = hidden + self._hidden(shift - before)
        return hidden if last is None else F.linear(hidden, last, bias)

    @property
    def norm_parameters(self) -> LayerNormParameters | None:
        """LayerNorm's weight, bias and eps, where there is one."""
        return None if self.norm is None else (self.norm.weight, self.norm.bias, self.norm.eps)

    def _hidden(self, before: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(F.silu(before if self.norm is None else self.norm(before)))
        return hidden

    def after_first(self, before: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """The rest of the MLP on scale · before + shift, as in :meth:`activate`: [R, out]."""
        return self.activate(before, scale, shift, self.last.weight, self.last.bias)

    def finish(self, sums: Tensor, counts: Tensor | None) -> Tensor:
        """The last linear map, of sums [N, h] of hidden features over ``counts`` [N, 1] rows (``None``: one)."""
        if counts is None:
            output: Tensor = self.last(sums)
            return output
        assert self.last.bias is not None
        return F.linear(sums, self.last.weight) + counts * self.last.bias


class MLP(MLPTail):
    """Linear, LayerNorm where configured, SiLU, dropout where configured, Linear."""

    def __init__(self, in_width: int, out_width: int, config: ScaleGMNConfig, *, bias_value: float = 0.0) -> None:
        super().__init__(out_width, config, bias_value=bias_value)
        self.first = Linear(in_width, config.mlp_width, bias_deviation=0.3)

    def shift(self, extra: Tensor | None = None) -> Tensor:
        """The first linear map's bias [h], plus what further inputs contribute, [R, h], where given."""
        assert self.first.bias is not None
        return self.first.bias if extra is None else self.first.bias + extra

    def hidden(self, x: Tensor) -> Tensor:
        """Hidden features [R, h] from [R, in]."""
        return self.activate(F.linear(x, self.first.weight), None, self.shift())

    def forward(self, x: Tensor) -> Tensor:
        """Map [R, in] to [R, out]."""
        return self.after_first(F.linear(x, self.first.weight), None, self.shift())
