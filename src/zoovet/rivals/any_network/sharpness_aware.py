"""FT-SAM: fine-tuning that seeks flat places, where neurons of a trojan shrink."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.healing import Editable, FloatingWeights
from zoovet.rivals.any_network.tuning import ReferenceBatches, cross_entropy, descended, gradients

__all__ = ["SharpnessAware"]

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class SharpnessAware:
    """Goes down the slopes that it finds where an adaptive step up, of length ``radius``, leads.

    Source: Zhu et al. 2023, *Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware Minimization*, section
    4, where the step up of a weight is in proportion to its square.

    Attributes:
        num_steps, rate: Of the descent.
        radius: Of the step up, in units of the weights.
        seed: Of batches.
    """

    num_steps: int = 120
    rate: float = 0.01
    radius: float = 2.0
    seed: int = 0

    def heal(self, editable: Editable, images: Tensor, labels: Tensor) -> FloatingWeights:
        """See :class:`~zoovet.rivals.any_network.Healer`."""

        def slopes(own: dict[str, Tensor], some: Tensor, wanted: Tensor) -> dict[str, Tensor]:
            first = gradients(cross_entropy(editable, own, some, wanted), own)
            sizes = {name: tensor.detach().abs() for name, tensor in own.items()}
            norm = torch.stack([(sizes[name] * slope).norm() for name, slope in first.items()]).norm()
            share = self.radius / (norm + _TINY)
            up = {
                name: (own[name].detach() + share * sizes[name].square() * slope).requires_grad_()
                for name, slope in first.items()
            }
            return gradients(cross_entropy(editable, up, some, wanted), up)

        batches = ReferenceBatches(images, labels, seed=self.seed)
        return descended(editable.weights, slopes, batches, num_steps=self.num_steps, rate=self.rate)
