"""More of few reference images: moved, mirrored, mixed with one another, and parts of them enlarged.

Sources: Zhang et al. 2018, *mixup*; Yun et al. 2019, *CutMix*; Asano and Saeed 2023, *The augmented image prior* (a
network's answers to many parts of few images tell much of what it knows).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

__all__ = ["enlarged_parts", "varied"]

_CUT, _SHIFTED = 0.5, 14
_SCALES, _STRETCHED, _TURNED = (0.3, 1.0), 0.2, 0.6
_CONTRAST, _BRIGHTNESS = 0.3, 0.2
"""Share of mixed images that get a rectangle of the other, moves as shares of a side; sides of the parts that are
enlarged, how far these differ, and the most radians that parts are turned by; how far colours change."""


def varied(images: Tensor, mixed: float, is_mirrored: bool, generator: Generator) -> Tensor:
    """Images moved by some pixels, and some of them mixed with others.

    Args:
        images: [n, C, H, W] in [-1, 1].
        mixed: Share of them that is mixed with others, or gets a part of another.
        is_mirrored: Whether half of them are mirrored.
        generator: Of everything that is drawn.

    Returns:
        [n, C, H, W] in [-1, 1].
    """
    height, width = images.shape[-2:]
    shift = max(1, min(height, width) // _SHIFTED)
    padded = functional.pad(images, (shift,) * 4, mode="replicate")
    moves = torch.randint(2 * shift + 1, (len(images), 2), generator=generator).tolist()
    moved = torch.stack(
        [own[:, top : top + height, left : left + width] for own, (top, left) in zip(padded, moves, strict=True)]
    )
    if is_mirrored:
        is_flipped = torch.rand(len(images), generator=generator) < 0.5
        moved = torch.where(is_flipped[:, None, None, None], moved.flip(-1), moved)
    kept = 0.5 + 0.5 * torch.rand(len(images), generator=generator)
    others = moved[torch.randperm(len(images), generator=generator).to(images.device)]
    shares = torch.where(torch.rand(len(images), generator=generator) < mixed, kept, 1.0)
    is_cut = torch.rand(len(images), generator=generator) < _CUT
    ways = []
    for own, share, cut in zip(range(len(images)), shares.tolist(), is_cut.tolist(), strict=True):
        if cut and share < 1:
            ways.append(_with_part(moved[own], others[own], share, generator))
        else:
            ways.append(share * moved[own] + (1 - share) * others[own])
    return torch.stack(ways)


def _with_part(image: Tensor, other: Tensor, share: float, generator: Generator) -> Tensor:
    """An image with a rectangle of another, which leaves a share of it."""
    sides = [max(1, round(side * (1 - share) ** 0.5)) for side in image.shape[-2:]]
    top, left = (
        int(torch.randint(side - own + 1, (), generator=generator))
        for side, own in zip(image.shape[-2:], sides, strict=True)
    )
    made = image.clone()
    made[:, top : top + sides[0], left : left + sides[1]] = other[:, top : top + sides[0], left : left + sides[1]]
    return made


def enlarged_parts(images: Tensor, generator: Generator) -> Tensor:
    """A part of each image, turned, as large as the image was, in other colours.

    Args:
        images: [n, C, H, W] in [-1, 1].
        generator: Of everything that is drawn.

    Returns:
        [n, C, H, W] in [-1, 1].
    """
    count, channels = images.shape[:2]
    low, high = _SCALES
    sides = low + (high - low) * torch.rand(count, 1, generator=generator)
    sides = (sides * (1 + _STRETCHED * _signed(generator, count, 2))).clamp(max=1)
    places = _signed(generator, count, 2) * (1 - sides)
    angles = _TURNED * _signed(generator, count, 1)
    width, height = sides.split(1, dim=1)
    rows = torch.stack([width * angles.cos(), -height * angles.sin(), width * angles.sin(), height * angles.cos()], 1)
    maps = torch.cat([rows.view(count, 2, 2), places.unsqueeze(2)], dim=2).to(images)
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    parts = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    contrast = 1 + _CONTRAST * _signed(generator, count, channels, 1, 1).to(images)
    brightness = _BRIGHTNESS * _signed(generator, count, 1, 1, 1).to(images)
    means = parts.mean((1, 2, 3), keepdim=True)
    return ((parts - means) * contrast + means + brightness).clamp(-1, 1)


def _signed(generator: Generator, *shape: int) -> Tensor:
    """Uniform from -1 to 1."""
    return 2 * torch.rand(*shape, generator=generator) - 1
