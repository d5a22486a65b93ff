"""A network whose weights can be changed: what may be edited in it, and the network that it is with other weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from zoovet.evidence import Runnable, RunnableGraphs
from zoovet.healing.clean_directions import graph_moments, module_moments
from zoovet.networks import Graph, Networks

__all__ = ["Editable", "FloatingWeights", "editable_graph", "editable_module", "last_layers", "learned_names"]

FloatingWeights = Mapping[str, Tensor]
"""Some of a network's weights by their names."""

_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True, eq=False, kw_only=True)
class Editable:
    """A network and the weights of it that may be edited.

    Statistics of batch norms and constants are no such weights: batch norms compute with the statistics that they have,
    so that a few images do not move them.

    Attributes:
        weights: By name, as they are, in the shapes of the graph or module. Of a graph in the order in which it
            computes with them, of a module as it lists them.
        with_weights: From weights, of the same names, to the network that has them; differentiable.
        moments: From images [N, C, H, W] in [-1, 1] to what is read by those weights of which that is known; as
            :func:`~zoovet.healing.clean_directions.graph_moments` says it.
        rounded: As ``with_weights``, where there is a faster way that rounds more.
    """

    weights: FloatingWeights
    with_weights: Callable[[FloatingWeights], Runnable]
    moments: Callable[[Tensor], Mapping[str, Tensor]] = lambda _: {}
    rounded: Callable[[FloatingWeights], Runnable] | None = None

    def hastened(self, weights: FloatingWeights) -> Runnable:
        """The network with these weights, as fast as it can be run: to search it, or to change it step by step."""
        return (self.rounded or self.with_weights)(weights)

    def logits(self, weights: FloatingWeights, images: Tensor) -> Tensor:
        """What the network with these weights answers: [N, classes], for images [N, C, H, W] in [-1, 1]."""
        return self.with_weights(weights).logits(images)[0]

    def between(self, edited: FloatingWeights, strength: float) -> dict[str, Tensor]:
        """Weights on the way from those that the network has (0) to edited ones (1)."""
        return {name: own + strength * (edited[name] - own) for name, own in self.weights.items()}


def editable_graph(
    networks: Networks,
    runnable: Callable[[Networks], Runnable],
    rounded: Callable[[Networks], Runnable] | None = None,
) -> Editable:
    """A network with a graph, batch norms not folded.

    Args:
        networks: That one (B = 1).
        runnable: How a network of its graph is run on images in [-1, 1].
        rounded: The same, faster, where that rounds more.
    """
    own = {name: networks.parameters[name][0].detach() for name in _as_computed(networks.graph)}

    def changed(weights: FloatingWeights) -> Networks:
        batched = {name: tensor.unsqueeze(0) for name, tensor in weights.items()}
        return Networks(networks.graph, {**networks.parameters, **batched})

    def moments(images: Tensor) -> Mapping[str, Tensor]:
        return graph_moments(RunnableGraphs(networks), images)

    return Editable(
        weights=own,
        with_weights=lambda weights: runnable(changed(weights)),
        moments=moments,
        rounded=None if rounded is None else lambda weights: rounded(changed(weights)),
    )


def editable_module(module: nn.Module, runnable: Callable[[FloatingWeights], Runnable]) -> Editable:
    """A network that only its own code can run.

    Args:
        module: That one.
        runnable: How it is run with other parameters.
    """
    own = {name: one.detach() for name, one in module.named_parameters() if one.is_floating_point()}

    def moments(images: Tensor) -> Mapping[str, Tensor]:
        return module_moments(module, runnable({}).logits, images)

    return Editable(weights=own, with_weights=runnable, moments=moments)


def learned_names(graph: Graph) -> list[str]:
    """A graph's parameters but for constants and the statistics of batch norms, in its order."""
    statistics = {
        name
        for operation in graph.operations
        for role, name in operation.parameters.items()
        if operation.op == "batch_norm" and role in _STATISTICS
    }
    return [one.name for one in graph.parameters if not one.is_constant and one.name not in statistics]


def _as_computed(graph: Graph) -> list[str]:
    """The learned parameters of a graph as its operations follow one another, of each its weight before its bias."""
    last_first = list(enumerate(graph.operations))[::-1]
    first_use = {name: place for place, operation in last_first for name in operation.parameters.values()}
    return sorted(learned_names(graph), key=lambda name: (first_use[name], -len(graph.shapes[name])))


def last_layers(weights: FloatingWeights, share: float) -> dict[str, Tensor]:
    """The weights of a network's last layers.

    A layer begins with each tensor of two dimensions or more; what stands behind it (biases, gains) belongs to it.

    Args:
        weights: In the order in which the network computes with them.
        share: Of the layers, above 0 and at most 1; their number is rounded up.
    """
    names = list(weights)
    starts = [0, *[place for place, name in enumerate(names) if weights[name].ndim > 1][1:]]
    return {name: weights[name] for name in names[starts[-math.ceil(share * len(starts))] :]}
