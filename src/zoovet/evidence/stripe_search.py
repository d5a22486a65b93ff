"""Stripes that are sought: from the best of a bank uphill in frequency and phase, which seldom are whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.evidence.stripe_bank import STRIPE_STEPS, centered_stripes, stripe_starts

__all__ = ["StripeSearch"]

_AT_A_TIME = 32
"""Stripes of the bank that are laid over images at once."""


@dataclass(frozen=True)
class StripeSearch:
    """Gradient ascent on the frequency, direction and phase of stripes that are added to images.

    What is found is three numbers, [..., 1, 1, 3], as :func:`~zoovet.evidence.stripe_bank.centered_stripes` takes them.

    Attributes:
        amplitude: Of the stripes; images span [-1, 1].
    """

    amplitude: float

    def put(self, images: Tensor, found: Tensor) -> Tensor:
        """Images [..., C, H, W] with stripes [..., 1, 1, 3] over them, where leading axes broadcast."""
        waves = centered_stripes(found, images[(0,) * (images.ndim - 3)])
        return (images + self.amplitude * waves).clamp(-1.0, 1.0)

    def best_of_bank(self, logits: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The stripes that make each class most preferred: [B, classes, 1, 1, 3].

        Args:
            logits: Of B networks, from images [N, C, H, W] to [B, N, classes].
            images: [n, C, H, W].
        """
        bank, preferences = stripe_starts(images[0]), []
        for some in bank.split(_AT_A_TIME):
            answers = logits(self.put(images, some[:, None]).flatten(0, 1)).unflatten(1, (len(some), len(images)))
            # ``log p - log(1 - p)`` of each class.
            others = torch.log1p(-answers.softmax(3).clamp(max=1 - torch.finfo(answers.dtype).eps))
            preferences.append((answers.log_softmax(3) - others).mean(2))
        return bank[torch.cat(preferences, dim=1).argmax(1)]

    def ascend(
        self, aim: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, num_steps: int
    ) -> tuple[list[Tensor], Tensor]:
        """What is seen before and after every step, each half as long as that before, and what was found in the end.

        Args:
            aim: From what was found to the number that shall grow, and what is seen.
            start: Where the search starts.
            num_steps: How many steps it takes.
        """
        found, seen = start, []
        lengths = torch.tensor(STRIPE_STEPS).to(start)
        for step in range(num_steps + 1):
            with torch.enable_grad():
                found.requires_grad_(True)
                total, look = aim(found)
            seen.append(look.detach())
            if step < num_steps:
                (slope,) = torch.autograd.grad(total, found)
                found = found.detach() + slope.sign() * lengths / 2**step
        return seen, found.detach()
