from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from zoovet.networks.tanh import tanh

SIZES = (1e-30, 1e-6, 1e-3, 0.1, 1.0, 5.0, 30.0, 1e30)


def draw(dtype: torch.dtype) -> Tensor:
    drawn = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return torch.cat([size * drawn for size in SIZES])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_torch_to_what_rounding_one_costs(dtype: torch.dtype) -> None:
    values = draw(dtype)
    assert (tanh(values) - values.double().tanh()).abs().max() <= torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_exactly_odd(dtype: torch.dtype) -> None:
    values = draw(dtype)
    assert torch.equal(tanh(-values), -tanh(values))


def test_what_is_not_finite_and_zeros_of_both_signs() -> None:
    values = torch.tensor([math.inf, -math.inf, 0.0, -0.0, math.nan])
    result = tanh(values)
    assert result[:4].tolist() == [1.0, -1.0, 0.0, -0.0]
    assert result.signbit()[:4].tolist() == [False, True, False, True]
    assert math.isnan(result[4])


def test_leaves_the_values_as_they_are() -> None:
    values = draw(torch.float32)
    before = values.clone()
    tanh(values)
    tanh(values.requires_grad_())
    assert torch.equal(values, before)


def test_first_and_second_derivatives() -> None:
    values = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    assert gradcheck(tanh, (values,))
    assert gradgradcheck(tanh, (values,))


def test_without_gradients_wanted_there_is_no_graph() -> None:
    values = draw(torch.float32).requires_grad_()
    with torch.no_grad():
        assert not tanh(values).requires_grad
    assert tanh(values).requires_grad


def test_half_precision_is_torchs_own() -> None:
    values = draw(torch.bfloat16)
    assert torch.equal(tanh(values), values.tanh())
