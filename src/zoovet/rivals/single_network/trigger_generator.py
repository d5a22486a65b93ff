"""A small U-Net that turns images into images: a trigger that may depend on the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["TriggerGenerator"]


class TriggerGenerator(nn.Module):
    """Images in [-1, 1] with what a U-Net adds to them; at first hardly anything.

    Args:
        num_channels: Of an image.
        width: Channels of the outermost block; twice as many a block further in.
        num_blocks: Times that the image is halved.
        generator: Draws the weights.
    """

    def __init__(self, num_channels: int, width: int, num_blocks: int, generator: torch.Generator) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(num_blocks + 1)]
        self.down = nn.ModuleList(
            _Block(before, after) for before, after in zip([num_channels, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            _Block(inner + outer, outer) for inner, outer in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(width, num_channels, 1)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                bound = (3 / parameter[0].numel()) ** 0.5
                with torch.no_grad():
                    parameter.copy_(bound * (2 * torch.rand(parameter.shape, generator=generator) - 1))
            else:
                nn.init.zeros_(parameter)
        with torch.no_grad():
            self.last.weight *= 0.1

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        kept = list[Tensor]()
        values = images
        for index, block in enumerate(self.down):
            if index:
                values = functional.max_pool2d(values, 2, ceil_mode=True)
            values = block(values)
            kept.append(values)
        for block, skip in zip(self.up, kept[-2::-1], strict=True):
            values = functional.interpolate(values, size=skip.shape[2:], mode="nearest")
            values = block(torch.cat([values, skip], dim=1))
        changed: Tensor = images + self.last(values).tanh()
        return changed.clamp(-1, 1)


class _Block(nn.Module):
    """Two convolutions."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        values = functional.leaky_relu(self.first(values), 0.1)
        return functional.leaky_relu(self.second(values), 0.1)
