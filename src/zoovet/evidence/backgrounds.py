"""Made-up images for searches where there are no reference images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["made_up_images"]


def made_up_images(num_images: int, shape: Sequence[int], seed: int) -> Tensor:
    """Smooth noise, and bright textured shapes on black: [2, num_images, C, H, W] in [-1, 1].

    Args:
        num_images: Of each kind.
        shape: Of an image: ``(channels, height, width)``.
        seed: Of the draw.
    """
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)

    def smooth(cells: int, *, uniform: bool) -> Tensor:
        size = (num_images, channels, cells, cells)
        drawn = torch.rand(size, generator=generator) if uniform else torch.randn(size, generator=generator)
        return functional.interpolate(drawn, size=(height, width), mode="bilinear")

    noise = smooth(7, uniform=False).tanh()
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None, :]
    radii = 0.3 + 0.5 * torch.rand(num_images, 2, 1, 1, generator=generator)
    inside = ((rows / radii[:, 0]) ** 4 + (columns / radii[:, 1]) ** 4 < 1).unsqueeze(1)
    shapes = torch.where(inside, 2 * (1.2 * smooth(5, uniform=True) + 0.2) - 1, -1.0).clamp(-1, 1)
    return torch.stack([noise, shapes])
