"""Steps of message passing with gradients written by hand, so that little is kept for the backward pass.

What is cheap to compute again (element-wise steps) is not kept; results of matrix products are. Per edge and round this
keeps about half of what composing the same steps from torch's own functions would. Each function's docstring is its
definition; tests compare values and gradients with that. Gradients of gradients are not supported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoovet.metanets.autocast import noting_autocast, with_autocast_as_noted

__all__ = [
    "LayerNormParameters",
    "Shape",
    "activated_linear",
    "ends_linear",
    "product_linears",
]

Shape = tuple[int, int, int]
"""(networks, targets, sources) of consecutive edge rows."""
LayerNormParameters = tuple[Tensor, Tensor, float]
"""Weight [h], bias [h], eps."""


def product_linears(
    rows: Tensor,
    sources: Sequence[Tensor],
    shapes: Sequence[Shape],
    gamma: Tensor | None,
    first: Tensor,
    *,
    absolute: bool,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Linear maps of p, the edge rows times the values of their sources.

    Args:
        rows: [R, d].
        sources: For each of ``shapes``, [networks, sources, d].
        shapes: How the rows are composed.
        gamma: [out, d] or ``None``.
        first: [h, d].
        absolute: Apply ``first`` to |p|.

    Returns:
        p · gammaᵀ [R, out] (or ``None``), p · firstᵀ or |p| · firstᵀ [R, h], and ‖p‖² [R, 1].
    """
    apply: Callable[..., tuple[Tensor | None, Tensor, Tensor]] = _ProductLinears.apply
    return apply(rows, tuple(shapes), gamma, first, absolute, *sources)


def activated_linear(
    before: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    norm: LayerNormParameters | None,
    last: Tensor | None,
    bias: Tensor | None,
    *,
    symmetric: bool = False,
) -> Tensor:
    """SiLU(LayerNorm(scale · before + shift)), then a linear map.

    Args:
        before: [R, h].
        scale: [R, 1] or ``None`` for 1.
        shift: [h] or [R, h]; ``None`` for 0, where ``scale`` is ``None`` too and ``symmetric`` is not set.
        norm: LayerNorm's parameters, or ``None`` for no LayerNorm.
        last: [out, h], or ``None`` for no linear map.
        bias: [out] or ``None``.
        symmetric: Add the same for −before ahead of the linear map.

    Returns:
        [R, out], or [R, h] without a linear map.
    """
    weight, offset, eps = norm if norm is not None else (None, None, 0.0)
    apply: Callable[..., Tensor] = _ActivatedLinear.apply
    return apply(before, scale, shift, weight, offset, eps, last, bias, symmetric)


def ends_linear(
    sources: Sequence[Tensor],
    targets: Sequence[Tensor],
    shapes: Sequence[Shape],
    norm: LayerNormParameters | None,
    last: Tensor,
    bias: Tensor,
) -> Tensor:
    """SiLU(LayerNorm(value of the edge's source + value of its target)), then a linear map.

    Args:
        sources: For each of ``shapes``, [networks, sources, h].
        targets: For each of ``shapes``, [networks, targets, h].
        shapes: How the rows are composed.
        norm: LayerNorm's parameters, or ``None`` for no LayerNorm.
        last: [out, h].
        bias: [out].

    Returns:
        [R, out].
    """
    weight, offset, eps = norm if norm is not None else (None, None, 0.0)
    apply: Callable[..., Tensor] = _EndsLinear.apply
    return apply(tuple(shapes), weight, offset, eps, last, bias, *sources, *targets)


def _blocks(rows: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """Rows [R, k] cut into [networks, targets, sources, k]."""
    blocks, position = [], 0
    for batch, num_targets, num_sources in shapes:
        length = batch * num_targets * num_sources
        blocks.append(rows[position : position + length].view(batch, num_targets, num_sources, -1))
        position += length
    return blocks


def _multiply(rows: Tensor, sources: Sequence[Tensor], shapes: Sequence[Shape]) -> Tensor:
    product = torch.empty_like(rows)
    for block, source, out in zip(_blocks(rows, shapes), sources, _blocks(product, shapes), strict=True):
        torch.mul(block, source.unsqueeze(1), out=out)
    return product


class _ProductLinears(torch.autograd.Function):
    @staticmethod
    @noting_autocast
    def forward(
        ctx: Any,
        rows: Tensor,
        shapes: Sequence[Shape],
        gamma: Tensor | None,
        first: Tensor,
        absolute: bool,
        *sources: Tensor,
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        product = _multiply(rows, sources, shapes)
        ctx.save_for_backward(rows, gamma, first, *sources)
        ctx.shapes, ctx.absolute = shapes, absolute
        ctx.set_materialize_grads(False)
        of_gamma = None if gamma is None else F.linear(product, gamma)
        squares = torch.linalg.vecdot(product, product).unsqueeze(1)
        return of_gamma, F.linear(product.abs() if absolute else product, first), squares

    @staticmethod
    @with_autocast_as_noted
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        of_gamma, of_first, of_squares = gradients
        rows, gamma, first, *sources = ctx.saved_tensors
        product = _multiply(rows, sources, ctx.shapes)
        gradient = None
        gamma_gradient = first_gradient = None
        if of_first is not None:
            gradient = of_first @ first
            inputs = product.abs() if ctx.absolute else product
            first_gradient = of_first.T @ inputs
            if ctx.absolute:
                gradient.mul_(product.sign())
        if of_gamma is not None:
            gamma_gradient = of_gamma.T @ product
            from_gamma = of_gamma @ gamma
            gradient = from_gamma if gradient is None else gradient.add_(from_gamma)
        if of_squares is not None:
            twice = 2 * of_squares
            gradient = product * twice if gradient is None else gradient.addcmul_(product, twice)
        if gradient is None:
            return (None,) * (5 + len(sources))
        row_gradient = product  # its memory is free now
        source_gradients = []
        triples = zip(_blocks(rows, ctx.shapes), _blocks(gradient, ctx.shapes), sources, strict=True)
        for (block, of_block, source), out in zip(triples, _blocks(row_gradient, ctx.shapes), strict=True):
            torch.mul(of_block, source.unsqueeze(1), out=out)
            source_gradients.append(
                (of_block * block).sum(1) if of_block.shape[1] > 1 else (of_block * block).squeeze(1)
            )
        return row_gradient, None, gamma_gradient, first_gradient, None, *source_gradients


def _normalized(
    before: Tensor, norm: tuple[Tensor | None, Tensor | None, float]
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """LayerNorm where there is one, with the mean and the reciprocal deviation."""
    weight, offset, eps = norm
    if weight is None:
        return before, None, None
    return torch.native_layer_norm(before, [before.shape[1]], weight, offset, eps)


@dataclass(frozen=True)
class _Activated:
    """SiLU(LayerNorm(before)), with what its gradient needs."""

    before: Tensor
    normalized: Tensor
    mean: Tensor | None
    deviation: Tensor | None
    norm: tuple[Tensor | None, Tensor | None, float]

    @classmethod
    def of(cls, before: Tensor, norm: tuple[Tensor | None, Tensor | None, float]) -> _Activated:
        return cls(before, *_normalized(before, norm), norm)

    def value(self) -> Tensor:
        return F.silu(self.normalized)

    def gradients(self, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Gradients to ``before``, and to LayerNorm's weight and bias."""
        gradient = torch.ops.aten.silu_backward(gradient, self.normalized)
        if self.mean is None:
            return gradient, None, None
        weight, offset, _ = self.norm
        gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_layer_norm_backward(
            gradient, self.before, [self.before.shape[1]], self.mean, self.deviation, weight, offset, [True, True, True]
        )
        return gradients


def _activate(before: Tensor, norm: tuple[Tensor | None, Tensor | None, float]) -> Tensor:
    return F.silu(_normalized(before, norm)[0])


class _ActivatedLinear(torch.autograd.Function):
    @staticmethod
    @noting_autocast
    def forward(
        ctx: Any,
        before: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        weight: Tensor | None,
        offset: Tensor | None,
        eps: float,
        last: Tensor | None,
        bias: Tensor | None,
        symmetric: bool,
    ) -> Tensor:
        ctx.save_for_backward(before, scale, shift, weight, offset, last)
        ctx.eps, ctx.symmetric, ctx.has_bias = eps, symmetric, bias is not None
        norm = (weight, offset, eps)
        hidden = _activate(_shifted(before, scale, shift), norm)
        if symmetric:
            hidden += _activate(_shifted(before, scale, shift, negative=True), norm)
        return hidden if last is None else F.linear(hidden, last, bias)

    @staticmethod
    @with_autocast_as_noted
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        before, scale, shift, weight, offset, last = ctx.saved_tensors
        norm = (weight, offset, ctx.eps)
        (gradient,) = gradients
        signs = (False, True)[: 1 + ctx.symmetric]
        halves = [_Activated.of(_shifted(before, scale, shift, negative=negative), norm) for negative in signs]
        last_gradient = bias_gradient = None
        of_hidden = gradient
        if last is not None:
            hidden = halves[0].value()
            if ctx.symmetric:
                hidden += halves[1].value()
            last_gradient = gradient.T @ hidden
            bias_gradient = gradient.sum(0) if ctx.has_bias else None
            of_hidden = gradient @ last
        of_before, of_weight, of_offset = halves[0].gradients(of_hidden)
        of_shift = _shift_gradient([of_before], shift)
        if ctx.symmetric:
            of_other, *of_norm = halves[1].gradients(of_hidden)
            of_shift = _shift_gradient([of_before, of_other], shift)
            of_before = of_before.sub_(of_other)
            of_weight, of_offset = _sum(of_weight, of_norm[0]), _sum(of_offset, of_norm[1])
        of_scale = None
        if scale is not None:
            of_scale = torch.linalg.vecdot(of_before, before).unsqueeze(1)
            of_before = of_before * scale
        return of_before, of_scale, of_shift, of_weight, of_offset, None, last_gradient, bias_gradient, None


def _shift_gradient(of_inputs: Sequence[Tensor], shift: Tensor | None) -> Tensor | None:
    """Gradient to the shift from those to what it was added to."""
    if shift is None:
        return None
    parts = [of_input if shift.ndim == 2 else of_input.sum(0) for of_input in of_inputs]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else first + second


def _shifted(before: Tensor, scale: Tensor | None, shift: Tensor | None, *, negative: bool = False) -> Tensor:
    """Scale · before + shift, or −scale · before + shift."""
    if shift is None:
        return before
    if scale is not None:
        return torch.addcmul(shift, before, scale, value=-1 if negative else 1)
    return shift - before if negative else before + shift


class _EndsLinear(torch.autograd.Function):
    @staticmethod
    @noting_autocast
    def forward(
        ctx: Any,
        shapes: Sequence[Shape],
        weight: Tensor | None,
        offset: Tensor | None,
        eps: float,
        last: Tensor,
        bias: Tensor,
        *ends: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(weight, offset, last, *ends)
        ctx.shapes, ctx.eps = shapes, eps
        return F.linear(_activate(_add_ends(ends, shapes), (weight, offset, eps)), last, bias)

    @staticmethod
    @with_autocast_as_noted
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, offset, last, *ends = ctx.saved_tensors
        norm = (weight, offset, ctx.eps)
        gradient = gradients[0]
        activated = _Activated.of(_add_ends(ends, ctx.shapes), norm)
        last_gradient = gradient.T @ activated.value()
        of_before, of_weight, of_offset = activated.gradients(gradient @ last)
        blocks = _blocks(of_before, ctx.shapes)
        of_sources = [block.sum(1) for block in blocks]
        of_targets = [block.sum(2) for block in blocks]
        return None, of_weight, of_offset, None, last_gradient, gradient.sum(0), *of_sources, *of_targets


def _add_ends(ends: Sequence[Tensor], shapes: Sequence[Shape]) -> Tensor:
    """Values of sources and targets, added in edge rows [R, h]."""
    sources, targets = ends[: len(shapes)], ends[len(shapes) :]
    num_rows = sum(batch * num_targets * num_sources for batch, num_targets, num_sources in shapes)
    total = sources[0].new_empty(num_rows, sources[0].shape[-1])
    for out, source, target in zip(_blocks(total, shapes), sources, targets, strict=True):
        torch.add(source.unsqueeze(1), target.unsqueeze(2), out=out)
    return total
