"""A network in two parts: from images to features, and from features to answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable, RunnableGraphs, RunnableModule
from zoovet.networks import INPUT, ZOO_SCALING, Graph, Networks, Operation, rescaled, run, values_at
from zoovet.printable import with_article

__all__ = ["Part", "SplitNetwork", "last_weights", "split_network"]

Part = Literal["last map", "middle"]

_WEIGHTED = ("conv2d", "linear")
_TOLERANCE = 1e-3


class SplitNetwork(Protocol):
    """A single network in two parts."""

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Of an image's features."""

    def features(self, images: Tensor) -> Tensor:
        """[N, *shape] of images [N, C, H, W] in [-1, 1], differentiable."""

    def answers(self, features: Tensor) -> Tensor:
        """Logits [N, classes] of features [N, *shape], differentiable."""


def split_network(network: Runnable, part: Part) -> SplitNetwork:
    """Cut a network in two where all that comes later depends on one site alone.

    Args:
        network: A single one (B = 1).
        part: ``last map``: behind the last site that has a height and a width, or before the last layer where none has;
            ``middle``: where about half of its convolutions and linear layers lie behind. Behind a layer means behind
            its norm, activation and pooling too. A network that only its own code can run is always cut before its last
            layer.

    Raises:
        ZoovetError: There is no such site, or nobody knows the network's inner values.
    """
    if isinstance(network, RunnableGraphs):
        return _split_graph(rescaled(network.networks, ZOO_SCALING), part)
    if isinstance(network, RunnableModule):
        return _SplitModule.of(network)
    raise ZoovetError(f"the inner values of {with_article(type(network).__name__)} are not known")


def last_weights(network: Runnable) -> Tensor:
    """Weights of the layer that makes a network's answers: [classes, numbers].

    Raises:
        ZoovetError: No single layer makes them, or nobody knows which.
    """
    if isinstance(network, RunnableModule):
        weight: Tensor = _SplitModule.of(network).layer.weight
        return weight.detach().flatten(1)
    if not isinstance(network, RunnableGraphs):
        raise ZoovetError(f"the layers of {with_article(type(network).__name__)} are not known")
    graph = network.networks.graph
    layers = [step for step in _needed(graph) if step.op in _WEIGHTED]
    if layers and layers[-1].output in (graph.output, *_cuts(graph)):
        weight = network.networks.parameters[layers[-1].parameters["weight"]][0].detach()
        if len(weight) == network.num_classes:
            return weight.flatten(1)
    raise ZoovetError(
        "no single layer with an output a class makes the network's answers, so that its weights say nothing"
    )


@dataclass(frozen=True, eq=False)
class _SplitGraph:
    whole: Networks
    site: str
    rest: Networks

    @property
    def feature_shape(self) -> tuple[int, ...]:
        return self.rest.graph.input_shape

    def features(self, images: Tensor) -> Tensor:
        return values_at(self.whole, images, [self.site])[self.site][0]

    def answers(self, features: Tensor) -> Tensor:
        return run(self.rest, features)[0]


def _split_graph(networks: Networks, part: Part) -> _SplitGraph:
    graph = networks.graph
    num_behind = {name: count for name, count in _cuts(graph).items() if count}
    cuts = [name for name in num_behind if name != INPUT and len(graph.sites[name].shape) in (1, 3)]
    if not cuts:
        raise ZoovetError(
            f"{graph.in_words()} has no site that all later ones depend on alone, so that it cannot be cut"
        )
    total = sum(step.op in _WEIGHTED for step in _needed(graph))
    if part == "middle":
        distance = {name: abs(num_behind[name] - total / 2) for name in cuts}
        least = min(distance.values())
        site = [name for name in cuts if distance[name] == least][-1]
    else:
        maps = [name for name in cuts if len(graph.sites[name].shape) == 3 and max(graph.sites[name].shape[1:]) > 1]
        site = (maps or cuts)[-1]
    return _SplitGraph(networks, site, Networks(*_behind(networks, site)))


def _behind(networks: Networks, site: str) -> tuple[Graph, dict[str, Tensor]]:
    """What makes the answers from a site."""
    graph = networks.graph
    steps, needed = list[Operation](), {graph.output}
    for step in reversed(graph.operations):
        if step.output in needed and step.output != site:
            needed.update(step.inputs)
            inputs = tuple(INPUT if name == site else name for name in step.inputs)
            steps.append(replace(step, inputs=inputs))
    read = {name for step in steps for name in step.parameters.values()}
    rest = Graph(
        input_shape=graph.sites[site].shape,
        parameters=tuple(one for one in graph.parameters if one.name in read),
        operations=tuple(reversed(steps)),
        output=graph.output,
    )
    return rest, {name: networks.parameters[name] for name in rest.shapes}


def _needed(graph: Graph) -> list[Operation]:
    """Operations that the output depends on, in order."""
    needed, kept = {graph.output}, list[Operation]()
    for step in reversed(graph.operations):
        if step.output in needed:
            needed.update(step.inputs)
            kept.append(step)
    return kept[::-1]


def _cuts(graph: Graph) -> dict[str, int]:
    """Sites, in order, that all later ones depend on alone, and how many weighted layers lie behind."""
    steps = _needed(graph)
    last_read = {name: index for index, step in enumerate(steps) for name in step.inputs}
    num_behind = sum(step.op in _WEIGHTED for step in steps)
    cuts, is_open = dict[str, int](), {INPUT}
    for index, step in enumerate(steps):
        if is_open & set(step.inputs):  # else it does not depend on the image
            is_open.add(step.output)
        num_behind -= step.op in _WEIGHTED
        is_open = {name for name in is_open if last_read.get(name, -1) > index}
        if is_open == {step.output}:
            cuts[step.output] = num_behind
    return cuts


@dataclass(frozen=True, eq=False)
class _SplitModule:
    """A module before and behind the last layer that it runs."""

    network: RunnableModule
    layer: nn.Linear
    feature_shape: tuple[int, ...]

    @classmethod
    def of(cls, network: RunnableModule) -> _SplitModule:
        """Find the last layer by running the module on noise."""
        noise = 2 * torch.rand(4, *network.input_shape, generator=torch.Generator().manual_seed(0)) - 1
        noise = noise.to(network.device, network.dtype)
        seen = list[tuple[nn.Linear, Tensor]]()
        handles = [
            module.register_forward_pre_hook(lambda own, inputs: seen.append((own, inputs[0].detach())))
            for module in network.module.modules()
            if isinstance(module, nn.Linear)
        ]
        try:
            with torch.no_grad():
                logits = network.logits(noise)[0].log_softmax(1)
                if seen:
                    layer, features = seen[-1]
                    answers = functional.linear(features, layer.weight, layer.bias)
                    is_last = answers.shape == logits.shape and torch.allclose(
                        answers.log_softmax(1), logits, atol=_TOLERANCE, rtol=_TOLERANCE
                    )
                    if is_last:
                        return cls(network, layer, tuple(features.shape[1:]))
        finally:
            for handle in handles:
                handle.remove()
        raise ZoovetError("no linear layer of the module makes its answers, so that it cannot be cut before it")

    def features(self, images: Tensor) -> Tensor:
        seen = list[Tensor]()
        handle = self.layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.network.logits(images)
        finally:
            handle.remove()
        return seen[-1]

    def answers(self, features: Tensor) -> Tensor:
        return functional.linear(features, self.layer.weight, self.layer.bias)
