"""Patch inversion: how far a small patch pushes a network towards each class, as features of its output nodes.

A trojaned network has a class that some small pattern causes, whatever else is in the image. So for each class a patch
is sought, by a few steps of gradient ascent, that makes the network prefer that class on made-up backgrounds; how much
it prefers it, step by step, tells much about a trojan. No data is needed: the backgrounds are drawn once, from a seed.
All this depends on the network's function alone, so every symmetry respects it.
Source of the idea: Wang et al. 2019, *Neural Cleanse*, section IV (there to convergence, on clean images).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.forward import forward

__all__ = ["InversionConfig", "PatchInversion"]

_MAX_IMAGES = 4096
_KINDS = 2


@dataclass(frozen=True, kw_only=True)
class InversionConfig:
    """What patches are sought, and on what.

    Attributes:
        patch_size: Side of the patch in pixels; it lies in the middle of the image.
        num_backgrounds: Made-up images of each of two kinds: smooth noise, and a bright shape on black.
        num_steps: Steps of gradient ascent; the first spans the range of pixel values, the others half of it.
        seed: Of the backgrounds.

    Raises:
        ZoovetError: A number below 1, or a seed below 0.
    """

    patch_size: int = 6
    num_backgrounds: int = 8
    num_steps: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("patch_size", 1), ("num_backgrounds", 1), ("num_steps", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ZoovetError(f"inversion.{name} must be at least {least}, got {getattr(self, name)}")

    @property
    def num_features(self) -> int:
        """Features of an output node: the preference before and after every step, on each kind of background."""
        return _KINDS * (self.num_steps + 1)


class PatchInversion(nn.Module):
    """Seeks patches; nothing in it is learned.

    Args:
        config: How.
        shape: Of an image: (channels, height, width).

    Raises:
        ZoovetError: The patch is larger than the image, or the input is no image.
    """

    backgrounds: Tensor

    def __init__(self, config: InversionConfig, shape: Sequence[int]) -> None:
        super().__init__()
        if len(shape) != 3 or config.patch_size > min(shape[1:]):
            raise ZoovetError(
                f"inversion needs images (channels, height, width) of at least {config.patch_size} pixels, got inputs "
                f"of {tuple(shape)}; lower inversion.patch_size"
            )
        self.config = config
        self.register_buffer("backgrounds", _backgrounds(config, tuple(shape)))

    def forward(self, networks: Networks) -> Tensor:
        """Features of the output nodes: [B, num_outputs, num_features], without gradients.

        Args:
            networks: B classifiers that read images of the shape.

        Raises:
            ZoovetError: They read other inputs.
        """
        shape = tuple(self.backgrounds.shape[2:])
        if networks.spec.input_shape != shape:
            raise ZoovetError(
                f"patch inversion was set up for inputs of {shape}, but the networks read {networks.spec.input_shape}; "
                f"set input_shape to that and train anew"
            )
        images_each = networks.spec.num_outputs * self.backgrounds.shape[0] * self.backgrounds.shape[1]
        size = max(1, _MAX_IMAGES // images_each)
        with torch.inference_mode(False), torch.no_grad():  # the ascent needs gradients, whatever the caller does
            own = networks.map(lambda tensor: tensor.detach().clone())
            return torch.cat([self._features(own[start : start + size]) for start in range(0, len(own), size)])

    def _features(self, networks: Networks) -> Tensor:
        num_classes, side = networks.spec.num_outputs, self.config.patch_size
        backgrounds = self.backgrounds.to(networks.dtype)
        channels = backgrounds.shape[2]
        patches = backgrounds.new_zeros(len(networks), num_classes, _KINDS, 1, channels, side, side)
        preferences = []
        for step in range(self.config.num_steps + 1):
            with torch.enable_grad():
                patches.requires_grad_(True)
                preference = self._preference(networks, backgrounds, patches)
                total = preference.sum()
            preferences.append(preference.detach())
            if step < self.config.num_steps:
                (slope,) = torch.autograd.grad(total, patches)
                largest = slope.abs().amax((-1, -2, -3), keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
                patches = (patches.detach() + slope / largest * (1.0 if step == 0 else 0.5)).clamp(-1.0, 1.0)
        return torch.asinh(torch.stack(preferences, dim=-1).flatten(2))

    def _preference(self, networks: Networks, backgrounds: Tensor, patches: Tensor) -> Tensor:
        """Mean over backgrounds of each class's logit minus the others' log-sum-exp: [B, classes, kinds]."""
        num_classes, side = patches.shape[1], self.config.patch_size
        top, left = ((size - side) // 2 for size in backgrounds.shape[-2:])
        images = backgrounds.expand(len(networks), num_classes, *backgrounds.shape).clone()
        images[..., top : top + side, left : left + side] = patches.expand(*images.shape[:5], side, side)
        logits = forward(networks, images.flatten(1, 3)).reshape(*images.shape[:4], num_classes)
        wanted = torch.eye(num_classes, dtype=torch.bool, device=logits.device)[None, :, None, None, :]
        own = logits.masked_fill(~wanted, 0.0).sum(-1)
        others = logits.masked_fill(wanted, -torch.inf).logsumexp(-1)
        return torch.mean(own - others, dim=-1)


def _backgrounds(config: InversionConfig, shape: tuple[int, ...]) -> Tensor:
    """[2, num_backgrounds, C, H, W] in [-1, 1]: smooth noise, and bright textured shapes on black."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(config.seed)

    def smooth(cells: int, *, uniform: bool) -> Tensor:
        size = (config.num_backgrounds, channels, cells, cells)
        drawn = torch.rand(size, generator=generator) if uniform else torch.randn(size, generator=generator)
        return F.interpolate(drawn, size=(height, width), mode="bilinear")

    noise = smooth(7, uniform=False).tanh()
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None, :]
    radii = 0.3 + 0.5 * torch.rand(config.num_backgrounds, 2, 1, 1, generator=generator)
    inside = ((rows / radii[:, 0]) ** 4 + (columns / radii[:, 1]) ** 4 < 1).unsqueeze(1)
    shapes = torch.where(inside, 2 * (1.2 * smooth(5, uniform=True) + 0.2) - 1, -1.0).clamp(-1, 1)
    return torch.stack([noise, shapes])
