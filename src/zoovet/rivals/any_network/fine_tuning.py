"""Fine-tuning on reference images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zoovet.healing import Editable, FloatingWeights
from zoovet.rivals.any_network.tuning import ReferenceBatches, cross_entropy, descended, gradients

__all__ = ["FineTuning"]


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Gradient descent on the images' labels.

    Attributes:
        num_steps, rate: Of the descent.
        seed: Of batches.
    """

    num_steps: int = 120
    rate: float = 0.01
    seed: int = 0

    def heal(self, editable: Editable, images: Tensor, labels: Tensor) -> FloatingWeights:
        """See :class:`~zoovet.rivals.any_network.Healer`."""
        return descended(
            editable.weights,
            lambda own, some, wanted: gradients(cross_entropy(editable, own, some, wanted), own),
            ReferenceBatches(images, labels, seed=self.seed),
            num_steps=self.num_steps,
            rate=self.rate,
        )
