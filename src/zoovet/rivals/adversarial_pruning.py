"""ANP: prune the channels that are sensitive to adversarial perturbations of their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.networks import Graph, Networks
from zoovet.rivals.clean_images import CleanImages, channel_mask
from zoovet.zoo.samples import Floats, Samples
from zoovet.zoo.training import NetworkTrainer, network_trainer

__all__ = ["AdversarialPruningRepairer", "HiddenChannels", "MaskedNetwork"]

_MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class AdversarialPruningRepairer:
    """Learns a mask over hidden channels under the worst perturbation of their weights and biases, then prunes.

    Each step: perturbations δ of the weights and ξ of the biases, relative and one number a channel, by one signed
    gradient step from a random start, both within ``budget``; then a step of the mask m ∈ [0, 1] down
    ``trade_off · L(m) + (1 - trade_off) · L(m + δ, ξ)``. The weights of channels whose mask ends at ``threshold`` or
    below are set to zero; their biases stay, as in the authors' code. That code lets start and step add up to twice the
    budget, where here the paper's bound holds, and it crops and flips its images. Masks are learned in float32, on
    processors, network by network.

    Source: Wu and Wang 2021, *Adversarial Neuron Pruning Purifies Backdoored Deep Models*, section 4; the defaults are
    the authors'.

    Attributes:
        clean: Images.
        num_steps: Steps of the mask.
        batch_size: Images a step.
        learning_rate: Of the mask (plain gradient descent with momentum 0.9, clipped to [0, 1]).
        budget: Largest relative perturbation.
        trade_off: Weight of the loss without perturbation.
        threshold: Masks up to it are pruned.
        seed: Of batches and of where perturbations start.
    """

    clean: CleanImages
    num_steps: int = 2000
    batch_size: int = 128
    learning_rate: float = 0.2
    budget: float = 0.4
    trade_off: float = 0.2
    threshold: float = 0.2
    seed: int = 0

    def repair(self, networks: Networks) -> Networks:
        """Pruned copies of the networks, in the same order.

        Raises:
            ZoovetError: The clean images have another shape than the networks read, or labels of no class.
        """
        return self.prune(networks, self.masks(networks))

    def prune(self, networks: Networks, masks: Tensor) -> Networks:
        """Copies of the networks without the weights of channels whose mask is at most the threshold.

        Args:
            networks: B networks.
            masks: [B, hidden channels], layer by layer.
        """
        widths = [layer.out_channels for layer in networks.graph.chain.layers[:-1]]
        kept = channel_mask(networks, list((masks > self.threshold).split(widths, dim=1)))
        weights = tuple(weight * mask for weight, mask in zip(networks.weights, kept.weights, strict=True))
        return Networks.from_layers(networks.graph, weights, networks.biases).detach()

    def masks(self, networks: Networks) -> Tensor:
        """The learned masks of all hidden channels, layer by layer: float32 [B, hidden channels]."""
        trainer, channels = network_trainer(networks.graph), HiddenChannels.of(networks.graph)
        flats = networks.detach().flat().float().cpu().numpy()
        learned = np.stack([self._mask(MaskedNetwork(trainer, channels, flat)) for flat in flats])
        return torch.from_numpy(learned).to(networks.device)

    def _mask(self, network: MaskedNetwork) -> Floats:
        """The learned mask of one network, [hidden channels]."""
        generator = np.random.default_rng(self.seed)
        images = self.clean.images.float().cpu().contiguous().numpy()
        labels = self.clean.labels.int().cpu().numpy()
        mask = np.ones(network.channels.count, dtype=np.float32)
        zeros, velocity = np.zeros_like(mask), np.zeros_like(mask)
        for _ in range(self.num_steps):
            chosen = generator.integers(len(labels), size=self.batch_size, dtype=np.int32)
            batch = Samples(images, images[:1], chosen, labels[chosen])
            start = generator.uniform(-self.budget, self.budget, size=(2, len(mask))).astype(np.float32)
            uphill = np.stack(network.gradients(batch, mask + start[0], start[1]))
            delta, xi = (start + self.budget * np.sign(uphill)).clip(-self.budget, self.budget)
            plain, _ = network.gradients(batch, mask, zeros)
            perturbed, _ = network.gradients(batch, mask + delta, xi)
            velocity = _MOMENTUM * velocity + self.trade_off * plain + (1 - self.trade_off) * perturbed
            mask = (mask - self.learning_rate * velocity).clip(0, 1)
        return mask


@dataclass(frozen=True)
class HiddenChannels:
    """Where the numbers of hidden channels stand in a flat vector.

    Attributes:
        count: Hidden channels.
        weights: [n] places of their weights.
        owners: [n] whose weight each is.
        biases: [count] places of their biases.
    """

    count: int
    weights: NDArray[np.int64]
    owners: NDArray[np.int64]
    biases: NDArray[np.int64]

    @classmethod
    def of(cls, graph: Graph) -> HiddenChannels:
        """Those of a graph's networks."""
        places = Networks.from_flat(graph, torch.arange(graph.num_parameters, dtype=torch.float64)[None])
        weights = [channel.flatten().long().numpy() for weight in places.weights[:-1] for channel in weight[0]]
        biases = torch.cat([bias[0] for bias in places.biases[:-1]]).long().numpy()
        owners = np.repeat(np.arange(len(weights)), [len(channel) for channel in weights])
        return cls(len(weights), np.concatenate(weights), owners, biases)


@dataclass(frozen=True)
class MaskedNetwork:
    """A network whose hidden channels are scaled.

    Attributes:
        trainer: Computes its gradients.
        channels: Its hidden channels.
        flat: Its weights, [P].
    """

    trainer: NetworkTrainer
    channels: HiddenChannels
    flat: Floats

    def gradients(self, batch: Samples, factors: Floats, xi: Floats) -> tuple[Floats, Floats]:
        """Of the mean loss to factors of the channels' weights and to relative changes of their biases, [channels]."""
        channels, flat = self.channels, self.flat
        scaled = flat.copy()
        scaled[channels.weights] *= factors[channels.owners]
        scaled[channels.biases] *= 1 + xi
        found = flat * self.trainer.unpack(self.trainer.gradient(self.trainer.pack(scaled), batch))
        to_factors = np.bincount(channels.owners, found[channels.weights], channels.count)
        return to_factors.astype(np.float32), found[channels.biases]
