"""1 / norm: its value, its gradient, and zeros."""

from __future__ import annotations

import pytest
import torch

from zoovet.metanets.reciprocal_norm import reciprocal_norm, smallest_square


@pytest.mark.parametrize("constant", [0.0, 0.1])
def test_value_and_gradient(constant: float) -> None:
    squares = torch.tensor([[0.1], [1.0], [30.0]], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(reciprocal_norm(squares, constant, 3.0), 3.0 / (squares.sqrt() + constant))
    assert torch.autograd.gradcheck(lambda given: reciprocal_norm(given, constant, 3.0), squares)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_with_zero_gradient_where_the_norm_vanishes(dtype: torch.dtype) -> None:
    smallest = smallest_square(dtype)
    squares = torch.tensor([0.0, smallest / 2, smallest * 2], dtype=dtype, requires_grad=True)
    result = reciprocal_norm(squares)
    (gradient,) = torch.autograd.grad(result.sum(), squares)
    assert result[:2].tolist() == [0, 0]
    assert result[2].item() == pytest.approx((smallest * 2) ** -0.5)
    assert gradient[:2].tolist() == [0, 0]
