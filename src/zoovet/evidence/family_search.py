"""Gradient ascent on triggers of any family, of many networks, classes and sets of images at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.evidence.class_search import SHARES
from zoovet.evidence.trigger_families import TriggerFamily

__all__ = ["FamilySearch"]

_AT_A_TIME = 32
"""Starts that are put on images at once."""


@dataclass(frozen=True, eq=False)
class FamilySearch:
    """Gradient ascent on triggers of a family.

    Attributes:
        family: What is sought; one without rows of its own.
        starts: [starts, C, …], of which each class's search begins at the best; ``None``: at the family's own start.
    """

    family: TriggerFamily
    starts: Tensor | None = None

    def put(self, images: Tensor, found: Tensor) -> Tensor:
        """Images [..., n, C, H, W] with triggers [..., 1, C, …], where leading axes broadcast."""
        leading = torch.broadcast_shapes(images.shape[:-4], found.shape[:-4])
        shown = images.expand(*leading, *images.shape[-4:]).reshape(-1, *images.shape[-4:])
        triggers = found.expand(*leading, *found.shape[-4:]).reshape(-1, *found.shape[-3:])
        return self.family.put(triggers, shown).reshape(*leading, *images.shape[-4:])

    def start(self, logits: Callable[[Tensor], Tensor], images: Tensor, count: int, num_classes: int) -> Tensor:
        """Where the searches of each class begin, the best of the starts by these images: [B, classes, C, …].

        Args:
            logits: Of B networks, from images [N, C, H, W] to [B, N, classes].
            images: [n, C, H, W].
            count: B.
            num_classes: Of the networks.
        """
        if self.starts is None:
            own = self.family.start(1, images[0])
            return own.expand(count, num_classes, *own.shape[1:])
        starts, preferences = self.starts.to(images), []
        for some in starts.split(_AT_A_TIME):
            answers = logits(self.put(images, some[:, None]).flatten(0, 1)).unflatten(1, (len(some), len(images)))
            log_odds = answers.log_softmax(3) - torch.log1p(-answers.softmax(3).clamp(max=_below_one(answers)))
            preferences.append(log_odds.mean(2))
        return starts[torch.cat(preferences, dim=1).argmax(1)]

    def ascend(
        self, aim: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, num_steps: int
    ) -> tuple[list[Tensor], Tensor]:
        """What is seen before and after every step, and what was found in the end.

        Args:
            aim: From what was found to the number that shall grow, and what is seen.
            start: Where the search starts, [..., C, …].
            num_steps: How many steps it takes.
        """
        found, seen = start, []
        for step in range(num_steps + 1):
            with torch.enable_grad():
                found = found.detach().requires_grad_(True)
                total, look = aim(found)
            seen.append(look.detach())
            if step < num_steps:
                (slope,) = torch.autograd.grad(total, found)
                share = SHARES[min(step, len(SHARES) - 1)]
                moved = self.family.moved(found.detach().flatten(0, -4), slope.flatten(0, -4), share)
                found = moved.reshape(found.shape)
        return seen, found.detach()


def _below_one(like: Tensor) -> float:
    return 1 - torch.finfo(like.dtype).eps
