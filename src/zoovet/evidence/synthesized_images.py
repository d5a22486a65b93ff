"""Images that a network itself takes for each of its classes, where there are no reference images.

Textures, moved uphill until their class wins: by smooth steps, since pictures are smooth and a gradient's fine grain is
not; seen shifted at every step, so that what emerges does not hang on single pixels. Source of the idea: Mordvintsev,
Olah and Tyka 2015, *Inceptionism*; of the shifts Chen et al. 2022, *Quarantine / Trojan reverse engineering without
data* use the like.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.evidence.backgrounds import made_up_images
from zoovet.evidence.runnable import Runnable

__all__ = ["synthesized_images"]

_SURE = 0.9
_FARTHEST_SHIFT = 2
_FIRST_STEP, _LAST_STEP = 0.5, 0.1
_TINY = torch.finfo(torch.float32).tiny


def synthesized_images(
    network: Runnable, labels: Tensor, *, num_steps: int, seed: int, max_images: int = 512
) -> Tensor:
    """An image for every class asked for: [n, C, H, W] in [-1, 1].

    Args:
        network: A single one (B = 1).
        labels: int64 [n], the class that each image is made for.
        num_steps: Steps uphill of each image; an image that its class has won for sure stays as it is.
        seed: Of textures and shifts.
        max_images: That are run at once.
    """
    half = -(-len(labels) // 2)
    textures = made_up_images(half, network.input_shape, seed).transpose(0, 1).flatten(0, 1)[: len(labels)]
    images = textures.to(network.device, network.dtype)
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.randint(-_FARTHEST_SHIFT, _FARTHEST_SHIFT + 1, (num_steps, 2), generator=generator).tolist()
    parts = [
        _uphill(network, images[start : start + max_images], labels[start : start + max_images], shifts)
        for start in range(0, len(labels), max_images)
    ]
    return torch.cat(parts)


def _uphill(network: Runnable, images: Tensor, labels: Tensor, shifts: list[list[int]]) -> Tensor:
    for step, shift in enumerate(shifts):
        share = step / max(1, len(shifts) - 1)
        size = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** share
        with torch.enable_grad():
            shown = images.detach().requires_grad_()
            logits = network.logits(shown.roll(shift, dims=(-2, -1)))[0]
            loss = functional.cross_entropy(logits, labels, reduction="sum")
        (slopes,) = torch.autograd.grad(loss, shown)
        unsure = logits.detach().softmax(1).gather(1, labels[:, None]) < _SURE
        smooth = _smoothed(slopes)
        largest = smooth.abs().amax((1, 2, 3), keepdim=True).clamp_min(_TINY)
        images = (images - size * unsure.view(-1, 1, 1, 1) * smooth / largest).clamp(-1, 1)
    return images


def _smoothed(images: Tensor) -> Tensor:
    """Means over three pixels a side, twice."""
    for _ in range(2):
        images = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return images
