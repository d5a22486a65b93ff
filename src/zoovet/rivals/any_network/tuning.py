"""What rivals of healing share: batches of reference images, and steps of gradient descent on a network's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.healing import Editable, FloatingWeights

__all__ = ["Healer", "ReferenceBatches", "cross_entropy", "descended", "gradients"]


class Healer(Protocol):
    """A way to heal a network on labelled reference images."""

    def heal(self, editable: Editable, images: Tensor, labels: Tensor) -> FloatingWeights:
        """Other weights for a network.

        Args:
            editable: The network.
            images: Reference images [n, C, H, W] in [-1, 1].
            labels: int64 [n], their classes.
        """


@dataclass(frozen=True)
class ReferenceBatches:
    """Batches of reference images, drawn with replacement and moved by up to two pixels.

    Attributes:
        images: [n, C, H, W].
        labels: int64 [n].
        size: Images of a batch.
        seed: Of what is drawn.
    """

    images: Tensor
    labels: Tensor
    size: int = 32
    seed: int = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        height, width = self.images.shape[-2:]
        most = min(2, min(height, width) - 1)
        while True:
            rows = torch.randint(len(self.images), (self.size,), generator=generator).to(self.images.device)
            top, left = torch.randint(2 * most + 1, (2,), generator=generator).tolist()
            padded = functional.pad(self.images[rows], (most,) * 4, mode="replicate")
            yield padded[..., top : top + height, left : left + width], self.labels[rows]


def cross_entropy(editable: Editable, weights: FloatingWeights, images: Tensor, labels: Tensor) -> Tensor:
    """Mean over images."""
    return functional.cross_entropy(editable.logits(weights, images), labels)


def gradients(loss: Tensor, weights: FloatingWeights) -> dict[str, Tensor]:
    """Of a loss to each weight, 0 where it does not depend on it."""
    found = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
    return dict(zip(weights, found, strict=True))


def descended(
    weights: FloatingWeights,
    slopes: Callable[[dict[str, Tensor], Tensor, Tensor], dict[str, Tensor]],
    batches: ReferenceBatches,
    *,
    num_steps: int,
    rate: float,
    momentum: float = 0.9,
) -> dict[str, Tensor]:
    """Weights after steps of gradient descent with momentum.

    Args:
        weights: Where it begins.
        slopes: From weights, a batch's images and its labels to the slopes that the weights go down.
        batches: Of reference images.
        num_steps: Steps.
        rate: Of a step, which falls to nothing as a half cosine.
        momentum: Share of a step that the next one repeats.
    """
    own = {name: tensor.detach().clone().requires_grad_() for name, tensor in weights.items()}
    optimizer = torch.optim.SGD(own.values(), lr=rate, momentum=momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    with torch.inference_mode(False), torch.enable_grad():
        for _, (images, labels) in zip(range(num_steps), batches, strict=False):
            for name, slope in slopes(own, images, labels).items():
                own[name].grad = slope.detach()
            optimizer.step()
            schedule.step()
    return {name: tensor.detach() for name, tensor in own.items()}
