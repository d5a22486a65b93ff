"""Autograd functions written by hand under autocast: the backward pass runs in the precision of the forward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["noting_autocast", "with_autocast_as_noted"]


def noting_autocast(function: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that notes whether autocast is on, for :func:`with_autocast_as_noted`."""

    @wraps(function)
    def forward(ctx: Any, *inputs: Any) -> Any:
        device = next(one.device.type for one in inputs if isinstance(one, Tensor))
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        return function(ctx, *inputs)

    return forward


def with_autocast_as_noted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A backward, once differentiable, that runs in the precision of its forward."""

    @once_differentiable
    @wraps(function)
    def backward(ctx: Any, *gradients: Any) -> Any:
        device, dtype, is_enabled = ctx.autocast
        with torch.autocast(device, dtype=dtype, enabled=is_enabled, cache_enabled=False):
            return function(ctx, *gradients)

    result: Callable[..., Any] = backward
    return result
