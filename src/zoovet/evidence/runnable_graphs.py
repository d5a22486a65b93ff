"""Batches of networks of any graph, to be run on images in [-1, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence.runnable_batch import RunnableBatch, mean_loss_gradients
from zoovet.evidence.scaled_images import ScaledInput
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.run import run, values_at

__all__ = ["RunnableGraphs"]


class RunnableGraphs(RunnableBatch):
    """B networks of one graph; where they answer probabilities, their logits are what these are made of.

    Args:
        networks: The networks; what is computed of them has no gradients to their weights.

    Raises:
        ZoovetError: They do not say which input scaling they read, read no images, or do not answer a number for each
            class.
    """

    def __init__(self, networks: Networks) -> None:
        graph = networks.graph
        if len(graph.output_shape) != 1:
            raise ZoovetError(f"evidence is of classifiers, but the graph answers {list(graph.output_shape)} an image")
        self._input = ScaledInput(graph.input_shape, graph.input_scaling)
        super().__init__(Networks(_to_logits(graph), networks.parameters))

    def __getitem__(self, index: slice) -> RunnableGraphs:
        return RunnableGraphs(self.networks[index])

    def logits(self, images: Tensor) -> Tensor:
        """[B, N, classes]."""
        return run(self.networks, self._input(images))

    def site_means(self, images: Tensor) -> Mapping[str, Tensor]:
        """[B, N, channels] of what convolutions and linear operations make, and of the output."""
        graph = self.networks.graph
        made = [step.output for step in graph.operations if step.op in ("conv2d", "linear")]
        sites = [name for name in made if name != graph.output and name in _needed(graph)]
        values = values_at(self.networks, self._input(images), [*sites, graph.output])
        return {name: value.flatten(3).mean(3) if value.ndim > 3 else value for name, value in values.items()}

    def loss_gradients(self, images: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """Parameter → [B, \\*shape], constants left out."""
        seen = self._input(images)
        return mean_loss_gradients(self.networks, list(self.weights()), lambda own: run(own, seen), labels)

    def weights(self) -> Mapping[str, Tensor]:
        """As in :meth:`loss_gradients`."""
        constants = {one.name for one in self.networks.graph.parameters if one.is_constant}
        return {name: tensor for name, tensor in self.networks.parameters.items() if name not in constants}


def _to_logits(graph: Graph) -> Graph:
    """The graph without a softmax at its end."""
    if graph.answers == "logits":
        return graph
    return replace(graph, output=graph.makers[graph.output].inputs[0])


def _needed(graph: Graph) -> set[str]:
    """Sites that the output depends on."""
    needed = {graph.output}
    for operation in reversed(graph.operations):
        if operation.output in needed:
            needed.update(operation.inputs)
    return needed
