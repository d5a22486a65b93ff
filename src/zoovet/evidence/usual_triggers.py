"""Triggers as attackers use them, to be tried as they are: squares of one colour, checkers; noise blended in; warps.

A search that climbs a slope from gray often misses a white square that turns every image: units that it drives are
silent at gray, so that there is no slope. Trying needs no slope, and hardly ever works on a healthy network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from zoovet.evidence.trigger_families import places_of

__all__ = ["drawn_warps", "placed", "usual_blends", "usual_patches", "usual_places"]

_STEP = 0.75
_NUM_PIXEL_NOISES, _NUM_BINARY_NOISES, _NUM_SMOOTH_NOISES = 24, 8, 16
_CELLS, _CONTROL = (3, 9), 4


def usual_patches(num_channels: int, size: int, seed: int) -> Tensor:
    """Squares: each channel black or white in every combination, checkers of both phases, noise of black and white.

    Args:
        num_channels: Of an image; of more than three, all are alike in each square.
        size: Side in pixels.
        seed: Of the noise.

    Returns:
        [squares, C, size, size] in [-1, 1].
    """
    varied = num_channels if num_channels <= 3 else 1
    plain = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=varied)))
    squares = plain.expand(-1, num_channels) if varied == 1 else plain
    line = torch.arange(size)
    checker = ((line[:, None] + line) % 2 * 2.0 - 1).expand(num_channels, size, size)
    coarse = ((line[:, None] // 2 + line // 2) % 2 * 2.0 - 1).expand(num_channels, size, size)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 2, (num_channels, size, size), generator=generator) * 2.0 - 1
    return torch.cat(
        [squares[:, :, None, None].expand(-1, -1, size, size), torch.stack([checker, -checker, coarse, noise])]
    )


def usual_places(size: int, shape: Sequence[int]) -> Tensor:
    """Places of squares that overlap by a quarter, up to the image's corners: int64 [places, 2], row and column."""
    side = max(shape[1:])
    return places_of(size, shape, 1 + -int(-(side - size) // (_STEP * size)))


def placed(squares: Tensor, places: Tensor, shape: Sequence[int]) -> Tensor:
    """Squares [n, C, size, size] on gray images, each at its place (int64 [n, 2]): [n, C, H, W]."""
    size = squares.shape[-1]
    images = squares.new_zeros(len(squares), *shape)
    for image, square, (row, column) in zip(images, squares, places.tolist(), strict=True):
        image[:, row : row + size, column : column + size] = square
    return images


def usual_blends(shape: Sequence[int], seed: int) -> Tensor:
    """Images to blend in: noise of single pixels, gray and in black and white, and noise that varies slowly.

    Args:
        shape: Of an image: ``(channels, height, width)``.
        seed: Of everything.

    Returns:
        [images, C, H, W] in [-1, 1].
    """
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(_NUM_PIXEL_NOISES, *shape, generator=generator) * 2 - 1
    binary = torch.randint(0, 2, (_NUM_BINARY_NOISES, 1, height, width), generator=generator) * 2.0 - 1
    smooth = []
    for _ in range(_NUM_SMOOTH_NOISES):
        cells = int(torch.randint(*_CELLS, (1,), generator=generator))
        coarse = torch.rand(1, channels, cells, cells, generator=generator) * 2 - 1
        smooth.append(functional.interpolate(coarse, size=(height, width), mode="bilinear"))
    return torch.cat([pixels, binary.expand(-1, channels, -1, -1), *smooth])


def drawn_warps(movements: Tensor, generator: Generator) -> Tensor:
    """Fields of smooth warps as :class:`Warps` takes them: [n, 2, 4, 4], shares of the image's side.

    Args:
        movements: [n], each one's mean movement along either axis, as a share of the image's side.
        generator: Of the fields.
    """
    fields = 2 * torch.rand(len(movements), 2, _CONTROL, _CONTROL, generator=generator) - 1
    fields = fields / fields.abs().mean((1, 2, 3), keepdim=True)
    return fields.to(movements) * movements[:, None, None, None]
