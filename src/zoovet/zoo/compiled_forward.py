"""Compiled code in the place of :func:`zoovet.networks.run`, where only gradients to images are wanted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoovet.networks import Graph, Networks, run
from zoovet.networks.rescaled import images_as_read
from zoovet.zoo.native import NativeNetwork, compile_spec
from zoovet.zoo.samples import Floats

__all__ = ["CompiledForward"]


class CompiledForward:
    """Logits of networks on images, differentiable to the images but not to the weights, on one thread.

    Networks in double precision or on a device go through :func:`~zoovet.networks.run`; so do those of other specs.

    Args:
        specs: Of the networks; the code for each is compiled where it is not in the cache.

    Raises:
        NativeUnavailable: There is no C compiler, it fails, or the C code lacks an activation of a spec.
    """

    def __init__(self, specs: tuple[Graph, ...]) -> None:
        self._compiled = {spec.architecture: compile_spec(spec) for spec in specs}

    def __call__(self, networks: Networks, images: Tensor) -> Tensor:
        """Logits [B, N, num_outputs]; arguments as of :func:`~zoovet.networks.run`.

        Raises:
            ZoovetError: The images do not fit the networks.
        """
        compiled = self._compiled.get(networks.graph.architecture)
        is_float = networks.dtype == images.dtype == torch.float32
        if compiled is None or not is_float or networks.device.type != "cpu":
            return run(networks, images)
        num_axes = len(networks.graph.input_shape)
        if images.ndim == num_axes + 2 and len(images) != len(networks):
            return run(networks, images)  # says what is wrong
        parameters = [compiled.pack(flat) for flat in networks.detach().flat().numpy()]
        shown = images_as_read(networks.graph, images)
        logits: Tensor = _Logits.apply(shown, parameters, compiled, num_axes)  # type: ignore[no-untyped-call]
        return logits


class _Logits(torch.autograd.Function):
    """Logits by compiled code, and their gradients to images, for which the networks are run once more."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, parameters: list[Floats], compiled: NativeNetwork, num_axes: int) -> Tensor:
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
