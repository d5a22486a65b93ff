"""Gradient ascent on a patch in images, or on a change of all their pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Search"]

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Search:
    """Gradient ascent on a patch in the middle of images, or on a change of all their pixels.

    Attributes:
        size: Height and width of what is sought.
        bound: How far it may be from 0.
        is_patch: Whether it takes the place of pixels; otherwise it is added to them.
    """

    size: tuple[int, int]
    bound: float
    is_patch: bool

    def put(self, images: Tensor, found: Tensor) -> Tensor:
        """Images [..., C, H, W] with what was found [..., C, height, width], where leading axes broadcast."""
        if not self.is_patch:
            return (images + found).clamp(-1.0, 1.0)
        (height, width), images = self.size, images.clone()
        top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
        images[..., top : top + height, left : left + width] = found.expand(*images.shape[:-2], height, width)
        return images

    def ascend(
        self, aim: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, num_steps: int
    ) -> tuple[list[Tensor], Tensor]:
        """What is seen before and after every step, and what was found in the end.

        A patch follows its slope, whose largest entry spans the range of a pixel; a change of all pixels follows the
        slope's signs, as is best within a bound on each of them. The first step reaches the bound, the others half.

        Args:
            aim: From what was found to the number that shall grow, and what is seen.
            start: Where the search starts.
            num_steps: How many steps it takes.
        """
        found, seen = start, []
        for step in range(num_steps + 1):
            with torch.enable_grad():
                found.requires_grad_(True)
                total, look = aim(found)
            seen.append(look.detach())
            if step < num_steps:
                (slope,) = torch.autograd.grad(total, found)
                if self.is_patch:
                    slope = slope / slope.abs().amax((-1, -2, -3), keepdim=True).clamp_min(_TINY)
                else:
                    slope = slope.sign()
                moved = found.detach() + slope * self.bound * (1.0 if step == 0 else 0.5)
                found = moved.clamp(-self.bound, self.bound)
        return seen, found.detach()
