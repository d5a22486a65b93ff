"""Batches of chain networks, to be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.layer_values import forward_means
from zoovet.networks.run import run

__all__ = ["RunnableChains", "chains_from_names", "named_tensors"]


class RunnableChains:
    """B chains of one graph, which read images in [-1, 1], if need be through their ``input_map``.

    Args:
        networks: The networks; what is computed of them has no gradients to their weights.
        run: What runs them where no gradients to weights are wanted: from networks and images to logits, differentiable
            to the images.
    """

    def __init__(self, networks: Networks, run: Callable[[Networks, Tensor], Tensor] = run) -> None:
        self.networks = networks
        self._run = run

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of an image."""
        return self.networks.graph.input_shape

    @property
    def num_classes(self) -> int:
        """Outputs of the last layer."""
        return self.networks.graph.num_outputs

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.networks.dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return self.networks.device

    def __len__(self) -> int:
        return len(self.networks)

    def __getitem__(self, index: slice) -> RunnableChains:
        return RunnableChains(self.networks[index], self._run)

    def logits(self, images: Tensor) -> Tensor:
        """[B, N, classes]."""
        return self._run(self.networks, images)

    def site_means(self, images: Tensor) -> Mapping[str, Tensor]:
        """[B, N, channels] of each layer, after its activation and pooling."""
        chain = self.networks.graph.chain
        means = forward_means(self.networks, images).split([layer.out_channels for layer in chain.layers], dim=2)
        return dict(zip(chain.sites, means, strict=True))

    def loss_gradients(self, images: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """``layers.K.weight`` → [B, out, in, \\*kernel], ``layers.K.bias`` → [B, out]."""
        with torch.enable_grad():
            own = self.networks.map(lambda tensor: tensor.detach().requires_grad_())
            logits = run(own, images)
            wanted = labels.expand(logits.shape[:2]).flatten()
            total = functional.cross_entropy(logits.flatten(0, 1), wanted, reduction="sum") / len(labels)
        gradients = torch.autograd.grad(total, list(own.parameters.values()))
        return named_tensors(Networks(own.graph, dict(zip(own.parameters, gradients, strict=True))))

    def weights(self) -> Mapping[str, Tensor]:
        """As in :meth:`loss_gradients`."""
        return named_tensors(self.networks)


def named_tensors(networks: Networks) -> dict[str, Tensor]:
    """Weights, and whatever else has their form, by their layers' numbers."""
    named: dict[str, Tensor] = {}
    for index, (weight, bias) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        named |= {f"layers.{index}.weight": weight, f"layers.{index}.bias": bias}
    return named


def chains_from_names(graph: Graph, named: Mapping[str, Tensor]) -> Networks:
    """The way back of :func:`named_tensors`."""
    layers = range(len(graph.chain.layers))
    weights = tuple(named[f"layers.{index}.weight"] for index in layers)
    return Networks.from_layers(graph, weights, tuple(named[f"layers.{index}.bias"] for index in layers))
