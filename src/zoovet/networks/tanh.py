"""tanh on a CPU, faster than torch's own, whose float32 kernel takes as long as the convolutions before it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

__all__ = ["tanh"]


def tanh(values: Tensor) -> Tensor:
    """Hyperbolic tangent, element by element, differentiable as often as wanted.

    Its relative error is at most three times the dtype's epsilon, near 0 too, and it is exactly odd. On a CPU that is
    torch's ``expm1``, sign aside: tanh |x| = −e / (e + 2) with e = exp(−2 |x|) − 1, which no x makes overflow.
    Elsewhere, and in half precision, torch's own.

    Args:
        values: Of any shape and floating dtype, left as they are.
    """
    if values.device.type != "cpu" or values.dtype not in (torch.float32, torch.float64):
        return values.tanh()
    return cast(Tensor, _Tanh.apply(values))  # type: ignore[no-untyped-call]


def _tanh(values: Tensor) -> Tensor:
    less = values.abs().mul_(-2).expm1_()
    return less.div_(less + 2).copysign_(values)


class _Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        result = _tanh(values)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return cast(Tensor, torch.ops.aten.tanh_backward(gradients[0], result))
