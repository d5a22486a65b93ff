"""The clean images that rival repairers are given, and tuning on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import Networks, run

__all__ = ["CleanImages", "accuracy_on", "channel_mask", "cross_entropies", "pruned", "tune"]


@dataclass(frozen=True, eq=False)
class CleanImages:
    """Labelled images without a trigger, which a defender is assumed to have.

    Attributes:
        images: float32 [N, C, H, W] in [-1, 1].
        labels: int64 [N].
    """

    images: Tensor
    labels: Tensor

    @classmethod
    def draw(cls, images: Images, count: int, generator: np.random.Generator) -> CleanImages:
        """Draw ``count`` images without replacement.

        Raises:
            ZoovetError: There are fewer.
        """
        if not 1 <= count <= len(images):
            raise ZoovetError(f"cannot draw {count} clean images: {images.name!r} has {len(images)}")
        some = images[torch.from_numpy(np.sort(generator.choice(len(images), count, replace=False)))]
        return cls(some.scaled(), some.required_labels)

    def __len__(self) -> int:
        return len(self.labels)

    def on(self, networks: Networks) -> CleanImages:
        """The same in the networks' precision and place."""
        return CleanImages(self.images.to(networks.device, networks.dtype), self.labels.to(networks.device))


def cross_entropies(networks: Networks, images: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each network, [B]; images [N, …] or [B, N, …], labels [N] or [B, N]."""
    logits = run(networks, images)
    wanted = labels.expand(logits.shape[:2])
    losses = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    return losses.view(wanted.shape).mean(dim=1)


def accuracy_on(networks: Networks, clean: CleanImages) -> Tensor:
    """Share of the images that each network classifies as their label: [B]."""
    with torch.no_grad():
        return (run(networks, clean.images).argmax(dim=2) == clean.labels).double().mean(dim=1)


def tune(
    networks: Networks,
    clean: CleanImages,
    *,
    num_epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    mask: Networks | None = None,
) -> Networks:
    """Train each network on its own by Adam, all of them side by side on the same batches.

    Args:
        networks: B networks; left as they are.
        clean: Images to train on.
        num_epochs: Passes over them.
        batch_size: Images a step; the last batch of a pass may be smaller.
        learning_rate: Adam's.
        seed: Of the order of the images.
        mask: 1 for numbers that may change and 0 for those that stay 0, or ``None``.

    Returns:
        The tuned networks, without gradients.
    """
    clean = clean.on(networks)
    start = networks if mask is None else _masked(networks, mask)
    parameters = [tensor.detach().clone().requires_grad_() for tensor in (*start.weights, *start.biases)]
    num_layers = len(networks.weights)
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    order = torch.Generator().manual_seed(seed)
    for _ in range(num_epochs):
        for indices in torch.split(torch.randperm(len(clean), generator=order), batch_size):
            trained = Networks.from_layers(networks.graph, parameters[:num_layers], parameters[num_layers:])
            trained = trained if mask is None else _masked(trained, mask)
            optimizer.zero_grad()
            cross_entropies(trained, clean.images[indices], clean.labels[indices]).sum().backward()
            optimizer.step()
    tuned = Networks.from_layers(networks.graph, parameters[:num_layers], parameters[num_layers:]).detach()
    return tuned if mask is None else _masked(tuned, mask)


def channel_mask(networks: Networks, keep: list[Tensor]) -> Networks:
    """A mask over all weights and biases from one over the channels of the hidden layers.

    Args:
        networks: B networks.
        keep: For each hidden layer [B, channels]: 1 where a channel is kept, 0 where it is pruned.

    Returns:
        The mask, in the form of networks; the last layer is kept.
    """
    weights, biases = [], []
    for index, (weight, bias) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        kept = keep[index].to(weight) if index < len(keep) else torch.ones_like(bias)
        biases.append(kept)
        weights.append(kept.view(*kept.shape, *[1] * (weight.ndim - 2)).expand_as(weight))
    return Networks.from_layers(networks.graph, tuple(weights), tuple(biases))


def _masked(networks: Networks, mask: Networks) -> Networks:
    return Networks(
        networks.graph, {name: tensor * mask.parameters[name] for name, tensor in networks.parameters.items()}
    )


def pruned(networks: Networks, keep: list[Tensor]) -> Networks:
    """The networks with channels of their hidden layers set to zero; ``keep`` as for :func:`channel_mask`."""
    return _masked(networks, channel_mask(networks, keep)).detach()
