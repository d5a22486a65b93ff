"""ANP for networks with batch norms: a mask over their channels is learned under the worst change of their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.healing import Editable, FloatingWeights
from zoovet.rivals.any_network.tuning import ReferenceBatches, cross_entropy, gradients

__all__ = ["NeuronPruning"]

_MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class NeuronPruning:
    """Channels of vectors of gains (batch norms'), or of kernels where there are none, are scaled by a learned mask.

    Source: Wu and Wang 2021, *Adversarial Neuron Pruning Purifies Backdoored Deep Models*, section 4.

    Attributes:
        num_steps, rate: Of the mask.
        budget: Largest relative change of a channel's number.
        trade_off: Weight of the loss without changes.
        threshold: Masks up to it are pruned.
        seed: Of batches and changes.
    """

    num_steps: int = 200
    rate: float = 0.2
    budget: float = 0.4
    trade_off: float = 0.2
    threshold: float = 0.2
    seed: int = 0

    def heal(self, editable: Editable, images: Tensor, labels: Tensor) -> FloatingWeights:
        """See :class:`~zoovet.rivals.any_network.Healer`."""
        gains = [name for name, own in editable.weights.items() if own.ndim == 1 and name.endswith("weight")]
        names = gains or [name for name, own in editable.weights.items() if own.ndim == 4]
        masks = {name: editable.weights[name].new_ones(len(editable.weights[name])) for name in names}
        speeds = {name: torch.zeros_like(mask) for name, mask in masks.items()}
        generator = torch.Generator().manual_seed(self.seed)

        def scaled(factors: dict[str, Tensor]) -> FloatingWeights:
            own = dict(editable.weights)
            for name, factor in factors.items():
                own[name] = own[name] * factor.view(-1, *[1] * (own[name].ndim - 1))
            return own

        def slopes(factors: dict[str, Tensor], some: Tensor, wanted: Tensor) -> dict[str, Tensor]:
            factors = {name: factor.detach().requires_grad_() for name, factor in factors.items()}
            return gradients(cross_entropy(editable, scaled(factors), some, wanted), factors)

        batches = ReferenceBatches(images, labels, seed=self.seed)
        with torch.inference_mode(False), torch.enable_grad():
            for _, (some, wanted) in zip(range(self.num_steps), batches, strict=False):
                start = {
                    name: self.budget * (2 * torch.rand(len(mask), generator=generator).to(mask) - 1)
                    for name, mask in masks.items()
                }
                uphill = slopes({name: mask + start[name] for name, mask in masks.items()}, some, wanted)
                worst = {
                    name: mask + (start[name] + self.budget * uphill[name].sign()).clamp(-self.budget, self.budget)
                    for name, mask in masks.items()
                }
                plain, changed = slopes(masks, some, wanted), slopes(worst, some, wanted)
                for name, mask in masks.items():
                    slope = self.trade_off * plain[name] + (1 - self.trade_off) * changed[name]
                    speeds[name] = _MOMENTUM * speeds[name] + slope
                    masks[name] = (mask - self.rate * speeds[name]).clamp(0, 1)
        return scaled({name: (mask > self.threshold).to(mask) for name, mask in masks.items()})
