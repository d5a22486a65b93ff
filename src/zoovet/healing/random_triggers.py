"""Triggers drawn at random, each image its own: warps, blended noise, stripes, squares.

A trojan that is set off by one change of an image answers to others of the kind too, a little. To ask for the
network's own answers with such changes too closes what a search of few steps, on few images, has not come across: a
search finds one square, of many at a place that work. The ranges are those within which published attacks stay.

Sources: Gu et al. 2017, *BadNets* (squares); Nguyen and Tran 2021, *WaNet*, section 3.2 (the field of a warp); Chen et
al. 2017, *Targeted Backdoor Attacks* (blended noise); Barni et al. 2019, *SIG*, section 3 (stripes).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from zoovet.evidence.stripe_bank import stripes
from zoovet.evidence.trigger_families import Warps
from zoovet.evidence.usual_triggers import drawn_warps

__all__ = ["with_random_triggers"]

_SIDE, _COARSE = 28, 5
_MOVED, _WEIGHTS, _AMPLITUDES, _FREQUENCIES, _SIDES = (0.5, 2.5), (0.05, 0.3), (0.1, 0.5), (1.5, 8.0), (0.06, 0.25)
"""Mean movement of a warp in pixels of an image of 28, weights of a blend, amplitudes and periods of stripes, sides of
squares as shares of the image's."""

_NOISY = 0.3
"""Share of squares that are not of one colour."""


def with_random_triggers(images: Tensor, generator: Generator) -> Tensor:
    """Each image with a trigger of its own, as many of each kind.

    Args:
        images: [n, C, H, W] in [-1, 1].
        generator: Of everything that is drawn.

    Returns:
        [n, C, H, W] in [-1, 1].
    """
    kinds: tuple[Callable[[Tensor, Generator], Tensor], ...] = (_warped, _blended, _striped, _patched)
    parts = images.tensor_split(len(kinds))
    return torch.cat([put(part, generator) for put, part in zip(kinds, parts, strict=True)])


def _uniform(bounds: tuple[float, float], images: Tensor, generator: Generator) -> Tensor:
    """One number for each image: [n, 1, 1, 1]."""
    low, high = bounds
    drawn = low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator)
    return drawn.to(images)


def _warped(images: Tensor, generator: Generator) -> Tensor:
    movements = _uniform(_MOVED, images, generator).flatten() / _SIDE
    fields = drawn_warps(movements, generator)
    return Warps(float("inf")).put(fields, images[:, None])[:, 0]


def _blended(images: Tensor, generator: Generator) -> Tensor:
    """With noise of single pixels, colored or gray, or noise that varies slowly."""
    count, channels, height, width = images.shape
    noises = [
        torch.rand(count, channels, height, width, generator=generator),
        torch.rand(count, 1, height, width, generator=generator).expand(-1, channels, -1, -1),
        functional.interpolate(
            torch.rand(count, channels, _COARSE, _COARSE, generator=generator), size=(height, width), mode="bilinear"
        ),
    ]
    chosen = torch.randint(len(noises), (count,), generator=generator)
    patterns = 2 * torch.stack(noises)[chosen, torch.arange(count)] - 1
    return images.lerp(patterns.to(images), _uniform(_WEIGHTS, images, generator))


def _striped(images: Tensor, generator: Generator) -> Tensor:
    angles = math.pi * _uniform((0.0, 1.0), images, generator).flatten()
    phases = _uniform((0.0, 1.0), images, generator).flatten()
    frequencies, amplitudes = (_uniform(bounds, images, generator) for bounds in (_FREQUENCIES, _AMPLITUDES))
    periods = frequencies.view(-1, 1) * torch.stack([angles.cos(), angles.sin()], dim=1)
    return (images + amplitudes * stripes(periods, phases, images[0])).clamp(-1, 1)


def _patched(images: Tensor, generator: Generator) -> Tensor:
    """With a square anywhere, of one colour at the end of each channel's range, or of noise of black and white."""
    height, width = images.shape[-2:]
    made = images.clone()
    for image, share in zip(made, _uniform(_SIDES, images, generator).flatten().tolist(), strict=True):
        size = max(2, round(share * min(height, width)))
        top, left = (int(torch.randint(max(1, side - size + 1), (), generator=generator)) for side in (height, width))
        cells = size if torch.rand((), generator=generator) < _NOISY else 1
        colours = torch.randint(2, (len(image), cells, cells), generator=generator) * 2.0 - 1
        image[:, top : top + size, left : left + size] = colours.to(image)
    return made
