"""The hand-written gradients against those of the same steps composed from torch's own functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoovet.metanets.fused import (
    LayerNormParameters,
    Shape,
    activated_linear,
    ends_linear,
    product_linears,
)

SHAPES: list[Shape] = [(2, 3, 4), (1, 1, 5), (3, 2, 1)]
NUM_ROWS = 24 + 5 + 6


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 17 * len(shape) + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def assert_same(
    ours: Callable[..., Any], theirs: Callable[..., Any], inputs: Sequence[Tensor | None], tolerance: float = 1e-12
) -> None:
    """Values and gradients to every input of two functions of the same inputs."""
    results = []
    for function in (ours, theirs):
        given = [None if one is None else one.clone().requires_grad_() for one in inputs]
        made = [one for one in _listed(function(*given)) if one is not None]
        total = sum((one * drawn(*one.shape, seed=5)).sum() for one in made)
        gradients = torch.autograd.grad(total, [one for one in given if one is not None])
        results.append([*made, *gradients])
    assert len(results[0]) == len(results[1])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


def _listed(made: Any) -> list[Tensor | None]:
    return list(made) if isinstance(made, tuple) else [made]


def of_edges(values: Sequence[Tensor], axis: int) -> Tensor:
    """Values of sources (axis 1) or targets (axis 2) in edge rows."""
    parts = [
        value.unsqueeze(axis).expand(*shape, -1).reshape(-1, value.shape[-1])
        for value, shape in zip(values, SHAPES, strict=True)
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("has_gamma", [False, True])
def test_product_linears(absolute: bool, has_gamma: bool) -> None:
    sources = [drawn(shape[0], shape[2], 4, seed=index) for index, shape in enumerate(SHAPES)]

    def ours(rows: Tensor, gamma: Tensor | None, first: Tensor, *sources: Tensor) -> Any:
        return product_linears(rows, sources, SHAPES, gamma, first, absolute=absolute)

    def theirs(rows: Tensor, gamma: Tensor | None, first: Tensor, *sources: Tensor) -> Any:
        product = rows * of_edges(sources, 1)
        of_gamma = None if gamma is None else product @ gamma.T
        return of_gamma, (product.abs() if absolute else product) @ first.T, product.square().sum(1, keepdim=True)

    assert_same(ours, theirs, [drawn(NUM_ROWS, 4), drawn(3, 4) if has_gamma else None, drawn(5, 4), *sources])


def test_product_linears_where_only_one_output_is_used() -> None:
    sources = [drawn(shape[0], shape[2], 4) for shape in SHAPES]
    for used in range(3):
        assert_same(
            lambda rows, gamma, first, used=used: (
                product_linears(rows, sources, SHAPES, gamma, first, absolute=False)[used]
                + 0 * (rows.sum() + gamma.sum() + first.sum())
            ),
            lambda rows, gamma, first, used=used: (
                (
                    (rows * of_edges(sources, 1)) @ gamma.T,
                    (rows * of_edges(sources, 1)) @ first.T,
                    (rows * of_edges(sources, 1)).square().sum(1, keepdim=True),
                )[used]
                + 0 * (rows.sum() + gamma.sum() + first.sum())
            ),
            [drawn(NUM_ROWS, 4), drawn(3, 4), drawn(5, 4)],
        )


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("has_norm", [False, True])
@pytest.mark.parametrize("has_last", [False, True])
@pytest.mark.parametrize("has_scale", [False, True])
@pytest.mark.parametrize("row_shift", [False, True])
def test_activated_linear(symmetric: bool, has_norm: bool, has_last: bool, has_scale: bool, row_shift: bool) -> None:
    def norm_of(weight: Tensor | None, offset: Tensor | None) -> LayerNormParameters | None:
        return None if weight is None or offset is None else (weight, offset, 1e-5)

    def ours(before, scale, shift, weight, offset, last, bias):
        norm = norm_of(weight, offset)
        return activated_linear(before, scale, shift, norm, last, bias, symmetric=symmetric)

    def theirs(before, scale, shift, weight, offset, last, bias):
        def hidden(x: Tensor) -> Tensor:
            return F.silu(x if weight is None else F.layer_norm(x, [6], weight, offset, 1e-5))

        scaled = before if scale is None else before * scale
        total = hidden(shift + scaled) + (hidden(shift - scaled) if symmetric else 0)
        return total if last is None else F.linear(total, last, bias)

    inputs = [
        drawn(7, 6),
        drawn(7, 1) if has_scale else None,
        drawn(7, 6, seed=1) if row_shift else drawn(6),
        drawn(6, seed=1) if has_norm else None,
        drawn(6, seed=2) if has_norm else None,
        drawn(3, 6) if has_last else None,
        drawn(3) if has_last else None,
    ]
    assert_same(ours, theirs, inputs, tolerance=1e-10)


@pytest.mark.parametrize("has_norm", [False, True])
def test_ends_linear(has_norm: bool) -> None:
    sources = [drawn(shape[0], shape[2], 6, seed=index) for index, shape in enumerate(SHAPES)]
    targets = [drawn(shape[0], shape[1], 6, seed=index + 9) for index, shape in enumerate(SHAPES)]
    count = len(SHAPES)

    def ours(weight: Tensor | None, offset: Tensor | None, last: Tensor, bias: Tensor, *ends: Tensor) -> Tensor:
        norm = None if weight is None or offset is None else (weight, offset, 1e-5)
        return ends_linear(ends[:count], ends[count:], SHAPES, norm, last, bias)

    def theirs(weight: Tensor | None, offset: Tensor | None, last: Tensor, bias: Tensor, *ends: Tensor) -> Tensor:
        before = of_edges(ends[:count], 1) + of_edges(ends[count:], 2)
        normalized = before if weight is None else F.layer_norm(before, [6], weight, offset, 1e-5)
        return F.linear(F.silu(normalized), last, bias)

    norm = [drawn(6), drawn(6, seed=1)] if has_norm else [None, None]
    assert_same(ours, theirs, [*norm, drawn(3, 6), drawn(3), *sources, *targets], tolerance=1e-10)
