"""Images in [-1, 1], as all evidence keeps them, and as networks read them."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.scaling import ZOO_SCALING, InputScaling

__all__ = ["ScaledInput", "as_signed"]


def as_signed(images: Tensor) -> Tensor:
    """Images in [-1, 1]: bytes are scaled, others are taken as they are.

    Args:
        images: uint8 or floating-point [..., C, H, W].

    Raises:
        ZoovetError: They are of another type, or reach beyond [-1, 1].
    """
    if images.dtype == torch.uint8:
        return ZOO_SCALING.apply(images)
    if not images.is_floating_point() or (images.numel() and not float(images.detach().abs().max()) <= 1):
        raise ZoovetError("images must be uint8, or floating-point numbers in [-1, 1]")
    return images


class ScaledInput:
    """Images in [-1, 1] to what a network reads for them, differentiable.

    Args:
        shape: Of an image: ``(channels, height, width)``.
        scaling: What the network reads.

    Raises:
        ZoovetError: Nobody knows the scaling, it is for another number of channels, or the input is no image.
    """

    def __init__(self, shape: tuple[int, ...], scaling: InputScaling | None) -> None:
        if len(shape) != 3:
            raise ZoovetError(f"evidence is of networks that read images (channels, height, width), got {shape}")
        if scaling is None:
            raise ZoovetError("the network's input scaling is not known; give it, as 'unit' or 'imagenet'")
        (own_gains, own_offsets), (gains, offsets) = scaling.affine(shape[0]), ZOO_SCALING.affine(shape[0])
        self._factors = [own / gain for own, gain in zip(own_gains, gains, strict=True)]
        triples = zip(own_offsets, self._factors, offsets, strict=True)
        self._offsets = [own - factor * offset for own, factor, offset in triples]
        self._is_same = scaling == ZOO_SCALING

    def __call__(self, images: Tensor) -> Tensor:
        """[..., C, H, W] as the network reads them."""
        if self._is_same:
            return images
        factors, offsets = (images.new_tensor(each).view(-1, 1, 1) for each in (self._factors, self._offsets))
        return images * factors + offsets
