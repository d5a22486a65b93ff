"""Logits of networks by compiled code, differentiable to the images but not to the weights, on one thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoovet.zoo.samples import Floats

__all__ = ["compiled_logits"]


class _Compiled(Protocol):
    """What runs one network: :class:`~zoovet.zoo.native.NativeNetwork` or :class:`~zoovet.zoo.native.NativeGraph`."""

    def logits(self, parameters: Floats, images: Floats) -> Floats: ...

    def image_slopes(self, parameters: Floats, images: Floats, to_logits: Floats) -> Floats: ...


def compiled_logits(compiled: _Compiled, parameters: Sequence[Floats], images: Tensor, num_axes: int) -> Tensor:
    """Logits [B, N, classes].

    Args:
        compiled: What runs the networks.
        parameters: Of each of the B networks, as ``compiled`` packs them.
        images: As the networks read them, float32 on the processor: [N, \\*shape] for all of them, or [B, N, \\*shape].
        num_axes: Of an image.
    """
    logits: Tensor = _Logits.apply(images, parameters, compiled, num_axes)  # type: ignore[no-untyped-call]  # torch's
    return logits


class _Logits(torch.autograd.Function):
    """Gradients to images run the networks once more."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, parameters: Sequence[Floats], compiled: _Compiled, num_axes: int) -> Tensor:
        ctx.save_for_backward(images)
        ctx.parameters, ctx.compiled, ctx.num_axes = parameters, compiled, num_axes
        each = _of_each(images, len(parameters), num_axes)
        found = [compiled.logits(own, some) for own, some in zip(parameters, each, strict=True)]
        return torch.stack([torch.from_numpy(logits) for logits in found])

    @staticmethod
    def backward(ctx: Any, to_logits: Tensor) -> tuple[Tensor, None, None, None]:
        (images,) = ctx.saved_tensors
        each = _of_each(images, len(ctx.parameters), ctx.num_axes)
        wanted = to_logits.contiguous().numpy()
        found = [
            torch.from_numpy(ctx.compiled.image_slopes(own, some, slopes))
            for own, some, slopes in zip(ctx.parameters, each, wanted, strict=True)
        ]
        slopes = torch.stack(found)
        return (slopes if images.ndim == ctx.num_axes + 2 else slopes.sum(dim=0)), None, None, None


def _of_each(images: Tensor, num_networks: int, num_axes: int) -> list[Floats]:
    """Each network's images, contiguous; the same array for all where they share them."""
    arrays = images.detach().contiguous().numpy()
    return list(arrays) if images.ndim == num_axes + 2 else [arrays] * num_networks
