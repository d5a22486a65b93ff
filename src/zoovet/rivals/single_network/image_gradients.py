"""Gradients of cross-entropies to images, by whatever runs the network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.evidence import Runnable

__all__ = ["ImageGradients", "image_gradients"]

ImageGradients = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From images [N, C, H, W] and wanted classes int64 [N] to the gradient of every image's own cross-entropy, [N, C, H,
W], and logits [N, classes]."""


def image_gradients(network: Runnable, max_images: int = 256) -> ImageGradients:
    """Those of a network that can be run.

    Args:
        network: A single one (B = 1).
        max_images: Images that are run at once.
    """

    def gradients(images: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        slopes, logits = [], []
        for some, classes in zip(images.detach().split(max_images), wanted.split(max_images), strict=True):
            with torch.enable_grad():
                own = some.requires_grad_()
                answers = network.logits(own)[0]
                loss = functional.cross_entropy(answers, classes, reduction="sum")
            slopes.append(torch.autograd.grad(loss, own)[0])
            logits.append(answers.detach())
        return torch.cat(slopes), torch.cat(logits)

    return gradients
