"""I-BAU: unlearning of a universal change of images, whose own answer to the weights is taken into account."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.healing import Editable, FloatingWeights
from zoovet.rivals.any_network.tuning import ReferenceBatches, cross_entropy, descended

__all__ = ["ImplicitUnlearning"]

_TINY, _MOST = 1e-12, 1.0
"""Guards of divisions; how much larger than the direct slope what fixed points add may grow, where they diverge."""


@dataclass(frozen=True, kw_only=True)
class ImplicitUnlearning:
    """A change of all images is sought that misleads the network most, within a norm; weights go down that slope.

    The slope is the implicit hypergradient, by fixed-point iterations of the inner ascent's step.

    Source: Zeng et al. 2022, *Adversarial Unlearning of Backdoors via Implicit Hypergradient* (I-BAU), algorithm 1.

    Attributes:
        num_steps, rate: Of the descent.
        num_inner: Steps of the inner ascent.
        inner_rate: Of these, as a share of the bound.
        bound: Largest norm of the change, as a share of the square root of an image's numbers; a pixel's range is 2.
        num_fixed_points: Iterations for the hypergradient.
        seed: Of batches.
    """

    num_steps: int = 60
    rate: float = 0.01
    num_inner: int = 5
    inner_rate: float = 0.5
    bound: float = 0.2
    num_fixed_points: int = 5
    seed: int = 0

    def heal(self, editable: Editable, images: Tensor, labels: Tensor) -> FloatingWeights:
        """See :class:`~zoovet.rivals.any_network.Healer`."""
        most = self.bound * images[0].numel() ** 0.5

        def misled(own: FloatingWeights, change: Tensor, some: Tensor, wanted: Tensor) -> Tensor:
            return cross_entropy(editable, own, (some + change).clamp(-1, 1), wanted)

        def hypergradient(own: dict[str, Tensor], some: Tensor, wanted: Tensor) -> dict[str, Tensor]:
            change = torch.zeros_like(some[:1])
            for _ in range(self.num_inner):
                change.requires_grad_()
                (up,) = torch.autograd.grad(misled(own, change, some, wanted), change)
                change = change.detach() + self.inner_rate * most * up / (up.norm() + _TINY)
                change = change * (most / (change.norm() + _TINY)).clamp(max=1.0)
            change = change.detach().requires_grad_()
            inner = misled(own, change, some, wanted)
            (up,) = torch.autograd.grad(inner, change, create_graph=True)
            moved = change + self.inner_rate * most * up / (up.detach().norm() + _TINY)
            direct, *slopes = torch.autograd.grad(
                inner + cross_entropy(editable, own, some, wanted),
                [change, *own.values()],
                retain_graph=True,
                materialize_grads=True,
            )
            answer = direct
            for _ in range(self.num_fixed_points):
                (answer,) = torch.autograd.grad(moved, change, answer, retain_graph=True)
                answer = (direct + answer) * (_MOST * direct.norm() / (answer.norm() + _TINY)).clamp(max=1.0)
            through = torch.autograd.grad(moved, list(own.values()), answer, materialize_grads=True)
            return {name: one + other for name, one, other in zip(own, slopes, through, strict=True)}

        batches = ReferenceBatches(images, labels, seed=self.seed)
        return descended(editable.weights, hypergradient, batches, num_steps=self.num_steps, rate=self.rate)
