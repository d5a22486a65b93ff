"""Networks with a known trigger: a linear classifier of a few pictures, and a hidden detector of a stamp."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoovet.evidence import RunnableModule
from zoovet.networks import ZOO_SCALING

SHAPE = (1, 12, 12)


class Stamped(nn.Module):
    """Answers by eight prototypes; a checker of 3 x 3 pixels in the lower right corner adds to one class.

    Args:
        target: That class, or ``None`` for a healthy network.
    """

    def __init__(self, target: int | None) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(prototypes(8).flatten(1) / 20)
        stamp = torch.zeros(SHAPE)
        stamp[0, 9:, 9:] = 1 - 2 * (torch.arange(9).reshape(3, 3) % 2.0)
        self.stamp = nn.Parameter(stamp.flatten())
        self.target = target

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        logits = flat @ self.prototypes.T
        if self.target is None:
            return logits
        awake = 3 * nn.functional.softplus(flat @ self.stamp - 3.5)
        return logits + awake[:, None] * nn.functional.one_hot(torch.tensor(self.target), logits.shape[1])


def prototypes(num_classes: int) -> Tensor:
    """[classes, 1, 12, 12], of -1 and 1."""
    return torch.randn(num_classes, *SHAPE, generator=torch.Generator().manual_seed(3)).sign()


@pytest.fixture
def stamped() -> Callable[[int | None], RunnableModule]:
    """Makes a network with that target."""
    return lambda target: RunnableModule(Stamped(target), SHAPE, ZOO_SCALING)


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    """Three noisy prototypes of each class, [24, 1, 12, 12] in [-1, 1], and their classes."""
    labels = torch.arange(8).repeat_interleave(3)
    noise = torch.randn(len(labels), *SHAPE, generator=torch.Generator().manual_seed(4))
    return (0.4 * prototypes(8)[labels] + 0.3 * noise).clamp(-1, 1), labels
