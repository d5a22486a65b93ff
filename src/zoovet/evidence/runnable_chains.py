"""Batches of chain networks, to be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from zoovet.evidence.runnable_batch import RunnableBatch, mean_loss_gradients
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.layer_values import forward_means
from zoovet.networks.run import run

__all__ = ["RunnableChains", "chains_from_names", "named_tensors"]


class RunnableChains(RunnableBatch):
    """B chains of one graph, which read images in [-1, 1], if need be through their ``input_map``.

    Args:
        networks: The networks; what is computed of them has no gradients to their weights.
        run: What runs them where no gradients to weights are wanted: from networks and images to logits, differentiable
            to the images.
    """

    def __init__(self, networks: Networks, run: Callable[[Networks, Tensor], Tensor] = run) -> None:
        super().__init__(networks)
        self._run = run

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
        graph, names = self.networks.graph, list(self.networks.parameters)
        gradients = mean_loss_gradients(self.networks, names, lambda own: run(own, images), labels)
        return named_tensors(Networks(graph, gradients))

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
