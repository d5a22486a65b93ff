"""SAU: unlearning of adversarial examples that the trojaned network and the one in work share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.healing import Editable, FloatingWeights
from zoovet.rivals.any_network.tuning import ReferenceBatches, cross_entropy, descended, gradients

__all__ = ["SharedAdversarialUnlearning"]


@dataclass(frozen=True, kw_only=True)
class SharedAdversarialUnlearning:
    """Changes of single images are sought that mislead both networks into one class; the one in work unlearns them.

    Source: Wei, Zhang, Zha and Wu 2023, *Shared Adversarial Unlearning: Backdoor Mitigation by Unlearning Shared
    Adversarial Examples*, sections 4.2 and 4.3.

    Attributes:
        num_steps, rate: Of the descent.
        bound: How far a pixel may move; its range is 2.
        num_inner: Steps of the inner ascent, each of a fifth of the range within the bound.
        shared_weight: Of what brings both networks' answers together in the inner ascent.
        unlearning_weight: Of shared examples in the descent.
        seed: Of batches.
    """

    num_steps: int = 60
    rate: float = 0.01
    bound: float = 0.2
    num_inner: int = 5
    shared_weight: float = 0.01
    unlearning_weight: float = 1.0
    seed: int = 0

    def heal(self, editable: Editable, images: Tensor, labels: Tensor) -> FloatingWeights:
        """See :class:`~zoovet.rivals.any_network.Healer`."""

        def both(own: FloatingWeights, shown: Tensor) -> tuple[Tensor, Tensor]:
            return editable.logits(editable.weights, shown), editable.logits(own, shown)

        def shared(own: FloatingWeights, some: Tensor, wanted: Tensor) -> Tensor:
            change = torch.zeros_like(some)
            for _ in range(self.num_inner):
                change.requires_grad_()
                first, second = both(own, (some + change).clamp(-1, 1))
                misled = functional.cross_entropy(first, wanted) + functional.cross_entropy(second, wanted)
                apart = _apart(first, second)
                (up,) = torch.autograd.grad(misled - self.shared_weight * apart, change)
                change = (change.detach() + 0.4 * self.bound * up.sign()).clamp(-self.bound, self.bound)
            return (some + change).clamp(-1, 1).detach()

        def slopes(own: dict[str, Tensor], some: Tensor, wanted: Tensor) -> dict[str, Tensor]:
            fixed = {name: tensor.detach() for name, tensor in own.items()}
            shown = shared(fixed, some, wanted)
            with torch.no_grad():
                first = editable.logits(editable.weights, shown).argmax(1)
            second = editable.logits(own, shown)
            is_shared = (first == second.argmax(1)) & (first != wanted)
            # What the trojaned network takes a shared example for is what the healed one must not.
            odds = (1 - second.softmax(1).gather(1, first[:, None]).squeeze(1)).clamp_min(1e-6)
            unlearned = -(is_shared * odds.log()).mean()
            return gradients(cross_entropy(editable, own, some, wanted) + self.unlearning_weight * unlearned, own)

        batches = ReferenceBatches(images, labels, seed=self.seed)
        return descended(editable.weights, slopes, batches, num_steps=self.num_steps, rate=self.rate)


def _apart(first: Tensor, second: Tensor) -> Tensor:
    """Jensen and Shannon's divergence of two networks' answers."""
    one, other = first.softmax(1), second.softmax(1)
    middle = (0.5 * (one + other)).log()
    parts = [functional.kl_div(middle, each, reduction="batchmean") for each in (one, other)]
    return 0.5 * (parts[0] + parts[1])
