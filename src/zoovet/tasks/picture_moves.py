"""Making more of the training SIRENs: moves of the picture plane, which a SIREN's first layer takes up exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.tasks.augmentation import with_noise

__all__ = ["PictureMoveConfig", "move_pictures"]


@dataclass(frozen=True, kw_only=True)
class PictureMoveConfig:
    """What is done to training SIRENs, each time they are drawn.

    Attributes:
        max_shift: The picture is shifted along each axis by up to this share of its half width.
        max_rotation: It is turned by up to this many degrees.
        max_scaling: It is enlarged or reduced by a factor of up to 1 + this.
        mirror: Whether left and right are exchanged in half of the pictures.
        weight_noise: Standard deviation of Gaussian noise, in units of that of each tensor's own weights; 0 adds none.

    Raises:
        ZoovetError: A value out of its range.
    """

    max_shift: float = 0.0
    max_rotation: float = 0.0
    max_scaling: float = 0.0
    mirror: bool = False
    weight_noise: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("max_shift", 1), ("max_rotation", 180), ("max_scaling", 1), ("weight_noise", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ZoovetError(f"{name} must lie between 0 and {most}, got {getattr(self, name)}")

    @property
    def moves_pictures(self) -> bool:
        """Whether pictures are moved at all, beside the noise."""
        return self.mirror or max(self.max_shift, self.max_rotation, self.max_scaling) > 0


def move_pictures(networks: Networks, config: PictureMoveConfig, generator: torch.Generator) -> Networks:
    """B SIRENs whose pictures are moved, each by its own draws: f(x) becomes f(A x + t).

    The first layer W x + b takes it up as (W A) x + (b + W t), so that nothing else changes.

    Args:
        networks: Networks that read a place (y, x), rows first.
        config: How far.
        generator: Of all draws, on the CPU.

    Raises:
        ZoovetError: Pictures are to be moved, and the networks do not read two numbers.
    """
    if config.moves_pictures:
        if networks.graph.input_shape != (2,):
            raise ZoovetError(
                f"pictures can be moved where networks read a place (2 numbers), got {networks.graph.describe()}; set "
                "max_shift, max_rotation and max_scaling of augmentation to 0 and mirror to false"
            )
        matrices, shifts = _draw_moves(len(networks), config, generator)
        networks = _moved(networks, matrices, shifts)
    if config.weight_noise > 0:
        networks = with_noise(networks, config.weight_noise, generator)
    return networks


def _draw_moves(count: int, config: PictureMoveConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Matrices A [B, 2, 2] and shifts t [B, 2] in the units of the coordinates."""
    draws = 2 * torch.rand(4, count, generator=generator) - 1
    angles = math.radians(config.max_rotation) * draws[0]
    factors = torch.exp(math.log1p(config.max_scaling) * draws[1])
    mirrored = torch.rand(count, generator=generator) < 0.5 if config.mirror else torch.zeros(count, dtype=torch.bool)
    sign = 1 - 2 * mirrored.float()
    cosines, sines = factors * torch.cos(angles), factors * torch.sin(angles)
    rows = (torch.stack([cosines, -sines * sign], dim=1), torch.stack([sines, cosines * sign], dim=1))
    return torch.stack(rows, dim=1), config.max_shift * draws[2:].T


def _moved(networks: Networks, matrices: Tensor, shifts: Tensor) -> Networks:
    weight, bias = networks.weights[0], networks.biases[0]
    matrices, shifts = matrices.to(weight), shifts.to(weight)
    first = (weight @ matrices, bias + (weight @ shifts[:, :, None]).squeeze(2))
    return Networks.from_layers(networks.graph, (first[0], *networks.weights[1:]), (first[1], *networks.biases[1:]))
