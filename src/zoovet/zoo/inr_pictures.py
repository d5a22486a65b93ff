"""Pictures out of networks: what a SIREN shows on a grid, and how near that is to an image.

An implicit neural representation (INR) maps a pixel's place to its value. The convention here is that of the published
INRs (Sitzmann et al. 2020; Navon et al. 2023): a place is (y, x), the row first, both from -1 to 1 over the picture,
corners included; the picture is the network's output plus 0.5, with 0 black and 1 white.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, run

__all__ = ["OFFSET", "coordinates", "pictures", "psnr"]

OFFSET = 0.5
"""What is added to a network's output to give the picture."""


def coordinates(
    height: int, width: int, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Tensor:
    """The places of a picture's pixels.

    Args:
        height: Rows, at least 1.
        width: Columns, at least 1.
        dtype: Of the result.
        device: Of the result.

    Returns:
        [height · width, 2], row by row: (y, x) in [-1, 1].

    Raises:
        ZoovetError: ``height`` or ``width`` is below 1.
    """
    if min(height, width) < 1:
        raise ZoovetError(f"a picture needs at least one row and one column, got {height} × {width}")
    rows = torch.linspace(-1.0, 1.0, height, dtype=dtype, device=device)
    columns = torch.linspace(-1.0, 1.0, width, dtype=dtype, device=device)
    return torch.cartesian_prod(rows, columns)


def pictures(networks: Networks, height: int, width: int) -> Tensor:
    """What B networks show on a grid. Differentiable to their weights.

    Args:
        networks: B networks from a place to a pixel's channels.
        height: Rows of the pictures.
        width: Columns of the pictures.

    Returns:
        [B, channels, height, width] in the networks' dtype: output + 0.5, not clamped to [0, 1].

    Raises:
        ZoovetError: The networks do not take two numbers, or the grid is empty.
    """
    if networks.graph.input_shape != (2,):
        raise ZoovetError(
            f"pictures are made by networks that take a place (2 numbers), got {networks.graph.describe()}"
        )
    values = run(networks, coordinates(height, width, networks.dtype, networks.device))
    return values.transpose(1, 2).reshape(len(networks), -1, height, width) + OFFSET


def psnr(pictures: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / mean squared error), of pictures whose peak value is 1.

    Args:
        pictures: [B, C, H, W].
        targets: [B, C, H, W], in [0, 1].

    Returns:
        [B]; infinite where a picture is its target.

    Raises:
        ZoovetError: The shapes differ.
    """
    if pictures.shape != targets.shape:
        raise ZoovetError(
            f"pictures and targets must have one shape, got {list(pictures.shape)} and {list(targets.shape)}"
        )
    return -10 * (pictures - targets).square().flatten(1).mean(dim=1).log10()
