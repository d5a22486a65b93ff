"""Reciprocals of norms that stay finite, and have finite gradients, at zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["reciprocal_norm", "smallest_square"]


def smallest_square(dtype: torch.dtype) -> float:
    """Squared norms below this count as 0: 4e-29 in float32, so that what they divide stays far from infinity."""
    return float(torch.finfo(dtype).tiny ** 0.75)


def reciprocal_norm(squares: Tensor, constant: float = 0.0, numerator: float = 1.0) -> Tensor:
    """Numerator / (√squares + constant), and 0 for squares below :func:`smallest_square`.

    Those count as zeros because networks trained with weight decay have channels nearly as small as that; the gradient
    is taken in an order in which nothing overflows.

    Args:
        squares: Squared norms, any shape.
        constant: Added to the norm.
        numerator: The norm of what the product with it makes, where the constant is 0.

    Returns:
        Of the same shape.
    """
    apply: Callable[..., Tensor] = _ReciprocalNorm.apply
    return apply(squares, constant, numerator)


class _ReciprocalNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, squares: Tensor, constant: float, numerator: float) -> Tensor:
        is_zero = squares < smallest_square(squares.dtype)
        norms = torch.where(is_zero, 1.0, squares).sqrt()
        result = torch.where(is_zero, 0.0, numerator / (norms + constant))
        ctx.save_for_backward(norms, result)
        ctx.constant = constant
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        norms, result = ctx.saved_tensors
        return (gradients[0] * result) / (norms + ctx.constant) / (-2 * norms), None, None
