"""ANP: prune the channels that are sensitive to adversarial perturbations of their weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.networks import Networks
from zoovet.rivals.clean_images import CleanImages, cross_entropies, pruned

__all__ = ["AdversarialPruningRepairer"]


@dataclass(frozen=True, kw_only=True)
class AdversarialPruningRepairer:
    """Learns a mask over hidden channels under the worst perturbation of their weights and biases, then prunes.

    Each step: perturbations δ of the weights and ξ of the biases, relative and one number a channel, by one signed
    gradient step up to ``budget``; then a step of the mask m ∈ [0, 1] down ``trade_off · L(m) + (1 - trade_off) ·
    L(m + δ, ξ)``. Channels whose mask ends below ``threshold`` are set to zero.

    Source: Wu and Wang 2021, *Adversarial Neuron Pruning Purifies Backdoored Deep Models*, section 4.

    Attributes:
        clean: Images.
        num_steps: Steps of the mask.
        batch_size: Images a step.
        learning_rate: Of the mask (plain gradient descent with momentum 0.9, clipped to [0, 1]).
        budget: Largest relative perturbation.
        trade_off: Weight of the loss without perturbation.
        threshold: Masks below it are pruned.
        seed: Of batches and of where perturbations start.
    """

    clean: CleanImages
    num_steps: int = 400
    batch_size: int = 128
    learning_rate: float = 0.2
    budget: float = 0.4
    trade_off: float = 0.2
    threshold: float = 0.2
    seed: int = 0

    def repair(self, networks: Networks) -> Networks:
        """Pruned copies of the networks, in the same order."""
        masks = self._masks(networks.detach())
        return pruned(networks, [(mask >= self.threshold).to(mask) for mask in masks])

    def _masks(self, networks: Networks) -> list[Tensor]:
        """The learned mask of every hidden layer, [B, channels]."""
        clean = self.clean.on(networks)
        generator = torch.Generator().manual_seed(self.seed)
        masks = [torch.ones_like(bias) for bias in networks.biases[:-1]]
        momenta = [torch.zeros_like(mask) for mask in masks]
        for _ in range(self.num_steps):
            chosen = torch.randperm(len(clean), generator=generator)[: self.batch_size]
            images, labels = clean.images[chosen], clean.labels[chosen]
            starts = [
                [(2 * torch.rand(mask.shape, generator=generator) - 1).to(mask) * self.budget for mask in masks]
                for _ in range(2)
            ]
            worst = self._worst(networks, masks, starts, images, labels)
            learned = [mask.clone().requires_grad_() for mask in masks]
            zeros = [torch.zeros_like(mask) for mask in masks]
            plain = cross_entropies(_perturbed(networks, learned, zeros, zeros), images, labels)
            perturbed = cross_entropies(_perturbed(networks, learned, *worst), images, labels)
            loss = (self.trade_off * plain + (1 - self.trade_off) * perturbed).sum()
            for index, gradient in enumerate(torch.autograd.grad(loss, learned)):
                momenta[index] = 0.9 * momenta[index] + gradient
                masks[index] = (masks[index] - self.learning_rate * momenta[index]).clamp(0, 1)
        return masks

    def _worst(
        self, networks: Networks, masks: list[Tensor], starts: list[list[Tensor]], images: Tensor, labels: Tensor
    ) -> list[list[Tensor]]:
        """One signed gradient step from random perturbations, within the budget."""
        moving = [[start.requires_grad_() for start in kind] for kind in starts]
        loss = cross_entropies(_perturbed(networks, masks, *moving), images, labels).sum()
        gradients = iter(torch.autograd.grad(loss, [start for kind in moving for start in kind]))
        return [
            [(start.detach() + self.budget * next(gradients).sign()).clamp(-self.budget, self.budget) for start in kind]
            for kind in moving
        ]


def _perturbed(networks: Networks, masks: list[Tensor], delta: list[Tensor], xi: list[Tensor]) -> Networks:
    """Hidden layers' weights times (mask + δ), their biases times (1 + ξ)."""
    weights, biases = list(networks.weights), list(networks.biases)
    for index, mask in enumerate(masks):
        factor = mask + delta[index]
        weights[index] = weights[index] * factor.view(*factor.shape, *[1] * (weights[index].ndim - 2))
        biases[index] = biases[index] * (1 + xi[index])
    return Networks(networks.spec, tuple(weights), tuple(biases))
