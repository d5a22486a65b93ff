"""Batches of networks of any graph, to be run on images in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.evidence.scaled_images import ScaledInput
from zoovet.networks.batch import Networks
from zoovet.networks.graph import INPUT, Graph
from zoovet.networks.run import run, run_changed, values_at

__all__ = ["RunnableGraphs"]


class RunnableGraphs:
    """B networks of one graph; where they answer probabilities, their logits are what these are made of.

    Args:
        networks: The networks; what is computed of them has no gradients to their weights.
        run: What runs them where no gradients to weights are wanted: from networks and images as they read them to
            logits, differentiable to the images.

    Raises:
        ZoovetError: They do not say which input scaling they read, read no images, or do not answer a number for each
            class.
    """

    def __init__(self, networks: Networks, run: Callable[[Networks, Tensor], Tensor] = run) -> None:
        graph = networks.graph
        if len(graph.output_shape) != 1:
            raise ZoovetError(f"evidence is of classifiers, but the graph answers {list(graph.output_shape)} an image")
        self._input = ScaledInput(graph.input_shape, graph.input_scaling)
        self._run = run
        self.networks = Networks(_to_logits(graph), networks.parameters)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of an image."""
        return self.networks.graph.input_shape

    @property
    def num_classes(self) -> int:
        """Numbers of the output."""
        return self.networks.graph.output_shape[0]

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

    def __getitem__(self, index: slice) -> RunnableGraphs:
        return RunnableGraphs(self.networks[index], self._run)

    def logits(self, images: Tensor) -> Tensor:
        """[B, N, classes]."""
        return self._run(self.networks, self._input(images))

    def values_at(self, images: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        """What chosen sites hold for images in [-1, 1]: name → [B, N, \\*shape], differentiable."""
        return values_at(self.networks, self._input(images), sites)

    def visit(self, images: Tensor, visitors: Mapping[str, Callable[[Tensor], None]]) -> None:
        """Show what sites hold for images in [-1, 1], [B, N, \\*shape], each to its visitor; one run, no gradients."""
        seen = self._input(images)

        def shown_to(visitor: Callable[[Tensor], None]) -> Callable[[Tensor], Tensor]:
            def look(values: Tensor) -> Tensor:
                visitor(values)
                return values

            return look

        with torch.no_grad():
            if INPUT in visitors:
                visitors[INPUT](seen.expand(len(self), *seen.shape))
            run_changed(self.networks, seen, {name: shown_to(one) for name, one in visitors.items() if name != INPUT})

    def site_means(self, images: Tensor) -> Mapping[str, Tensor]:
        """[B, N, channels] of every layer and sum, after its activation and pooling, the output last."""
        sites = _layers_as_read(self.networks.graph)
        return values_at(self.networks, self._input(images), sites, reduce=_mean_over_map)

    def loss_gradients(self, images: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """Parameter → [B, \\*shape], constants left out; 0 where the logits do not depend on it."""
        own, seen = self.networks.detach(), self._input(images)
        parameters = [own.parameters[name] for name in self.weights()]
        with torch.enable_grad():
            for tensor in parameters:
                tensor.requires_grad_()
            logits = run(own, seen)
            wanted = labels.expand(logits.shape[:2]).flatten()
            total = functional.cross_entropy(logits.flatten(0, 1), wanted, reduction="sum") / len(labels)
        gradients = torch.autograd.grad(total, parameters, materialize_grads=True)
        return dict(zip(self.weights(), gradients, strict=True))

    def weights(self) -> Mapping[str, Tensor]:
        """As in :meth:`loss_gradients`."""
        constants = {one.name for one in self.networks.graph.parameters if one.is_constant}
        return {name: tensor for name, tensor in self.networks.parameters.items() if name not in constants}


def _mean_over_map(values: Tensor) -> Tensor:
    """[B, N, channels, …] to [B, N, channels]."""
    return values.flatten(3).mean(3) if values.ndim > 3 else values


def _to_logits(graph: Graph) -> Graph:
    """The graph without a softmax at its end."""
    if graph.answers == "logits":
        return graph
    return replace(graph, output=graph.makers[graph.output].inputs[0])


def _layers_as_read(graph: Graph) -> list[str]:
    """Sites of the layers, sums and concatenations that the output depends on, each as later operations read it.

    An activation or a pooling that alone reads what a layer makes belongs to it. Sites without channels are left out;
    the output is the last one.
    """
    needed = _needed(graph)
    sites = dict[str, None]()
    for step in graph.operations:
        makes_channels = step.parameters or len(step.inputs) > 1
        if makes_channels and step.output in needed:
            site = _after_activation(graph, step.output)
            if graph.sites[site].channel_axis == 0 and graph.sites[site].positions == 1:
                sites[site] = None
    return [*(name for name in sites if name != graph.output), graph.output]


def _after_activation(graph: Graph, site: str) -> str:
    while site != graph.output and len(graph.readers[site]) == 1:
        (reader,) = graph.readers[site]
        is_pooling = reader.kind.is_per_channel or (reader.op == "mean" and reader.attributes["dim"] == (1, 2))
        if not (reader.kind.is_elementwise or is_pooling) or len(reader.inputs) != 1:
            break
        site = reader.output
    return site


def _needed(graph: Graph) -> set[str]:
    """Sites that the output depends on."""
    needed = {graph.output}
    for operation in reversed(graph.operations):
        if operation.output in needed:
            needed.update(operation.inputs)
    return needed
