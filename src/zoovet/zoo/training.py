"""Training one small network after another, fast: in compiled code where it can be had, else through torch.

Both ways take the same images in the same order and step like ``torch.optim``; they agree to float precision where
nothing is dropped out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Protocol

import numpy as np
import torch

from zoovet.errors import ZoovetError, nearest
from zoovet.networks import Graph
from zoovet.printable import printable
from zoovet.zoo.native import NativeUnavailable, compile_chain, compile_graph
from zoovet.zoo.samples import Anchor, Floats, Integers, OptimizerMemory, Samples, Schedule
from zoovet.zoo.torch_network import OPTIMIZERS, TorchNetwork

__all__ = [
    "INITIALIZERS",
    "OPTIMIZERS",
    "initial_weights",
    "network_trainer",
    "train_epochs",
    "train_network",
]

_PLACES_STD = 0.02

INITIALIZERS = ("glorot", "he", "orthogonal", "normal", "truncated_normal")


class NetworkTrainer(Protocol):
    """What trains and runs one network.

    :class:`~zoovet.zoo.native.NativeNetwork` for chains, :class:`~zoovet.zoo.native.NativeGraph` for other graphs,
    :class:`~zoovet.zoo.torch_network.TorchNetwork` for what these do not know. How samples are drawn, and which
    networks are accepted, is nobody's business here.
    """

    def pack(self, flat: Floats) -> Floats:
        """The trainer's own parameters from a flat vector."""

    def unpack(self, padded: Floats) -> Floats:
        """The flat vector from the trainer's own parameters."""

    def train(
        self,
        parameters: Floats,
        memory: OptimizerMemory,
        samples: Samples,
        schedule: Schedule,
        seed: int,
        anchor: Anchor | None = None,
    ) -> float:
        """Train in place on the samples in their order, once; returns the mean loss."""

    def gradient(self, parameters: Floats, samples: Samples) -> Floats:
        """Gradient of the mean cross-entropy on the samples, in the layout of the parameters."""

    def image_gradients(self, parameters: Floats, images: Floats, labels: Integers) -> tuple[Floats, Floats]:
        """Gradient of every image's own cross-entropy to the image [N, C, H, W], and logits [N, classes]."""

    def logits(self, parameters: Floats, images: Floats) -> Floats:
        """Logits [N, classes] on images [N, C, H, W]."""


@cache
def network_trainer(graph: Graph) -> NetworkTrainer:
    """The fastest trainer there is for a graph. Where that is not a compiled one, a warning says why.

    A chain of layers has code of its own, which knows dropout; other graphs have C written for them. What neither knows
    goes through torch.
    """
    for compiled in (compile_chain, compile_graph) if graph.is_chain else (compile_graph,):
        try:
            return compiled(graph)
        except NativeUnavailable as error:
            reason = str(error)
    warnings.warn(f"training through torch, several times slower than compiled: {reason}", stacklevel=2)
    return TorchNetwork(graph, reason)


def train_epochs(
    trainer: NetworkTrainer,
    flat: Floats,
    samples: Samples,
    schedule: Schedule,
    generator: np.random.Generator,
    anchor: Anchor | None = None,
) -> Iterator[tuple[Floats, int]]:
    """Train a network from given weights, and stop after every epoch.

    Args:
        trainer: From :func:`network_trainer`.
        flat: [P] float32, where it starts; left as it is.
        samples: What it is trained on, in a new random order each epoch.
        schedule: How.
        generator: Source of the orders and of the dropout.
        anchor: What the weights are held near to, or nothing.

    Yields:
        Flat weights [P] and the number of optimizer steps so far. Weights are NaN where training diverged.
    """
    parameters = trainer.pack(flat)
    memory = OptimizerMemory.fresh(parameters)
    for _ in range(schedule.epochs):
        order = generator.permutation(len(samples))
        trainer.train(parameters, memory, samples.in_order(order), schedule, int(generator.integers(2**32)), anchor)
        yield trainer.unpack(parameters), int(memory.num_steps[0])


def train_network(
    trainer: NetworkTrainer,
    flat: Floats,
    samples: Samples,
    schedule: Schedule,
    generator: np.random.Generator,
    anchor: Anchor | None = None,
) -> tuple[Floats, int]:
    """The end of :func:`train_epochs`: trained flat weights [P] and the number of optimizer steps."""
    *_, last = train_epochs(trainer, flat, samples, schedule, generator, anchor)
    return last


def initial_weights(graph: Graph, init: str, init_std: float, generator: np.random.Generator) -> Floats:
    """Fresh weights of one network, flat [P] float32; biases are zero, norms do nothing yet.

    Args:
        graph: The network.
        init: ``glorot`` (uniform), ``he`` (normal), ``orthogonal``, ``normal`` or ``truncated_normal`` (at two
            standard deviations).
        init_std: Standard deviation of the last two; the others ignore it.
        generator: Source of the draws.

    Raises:
        ZoovetError: The initializer is unknown, or the graph has parameters that nobody knows how to start.
    """
    source = torch.Generator().manual_seed(int(generator.integers(2**63)))
    parts: list[torch.Tensor] = []
    if graph.is_chain:
        for layer in graph.chain.layers:
            weight = _drawn(torch.empty(layer.weight_shape), init, init_std, source)
            parts += [weight.flatten(), torch.zeros(layer.out_channels)]
        return torch.cat(parts).numpy()
    uses = {name: (one, role) for one in graph.operations for role, name in one.parameters.items()}
    for parameter in graph.parameters:
        operation, role = uses[parameter.name]
        if operation.op in ("conv2d", "linear") and role == "weight":
            parts.append(_drawn(torch.empty(parameter.shape), init, init_std, source).flatten())
        elif role in ("weight", "running_var") and operation.op.endswith("_norm"):
            parts.append(torch.ones(parameter.num_numbers))
        elif operation.op == "parameter" and not parameter.is_constant and _is_added(graph, operation.output):
            parts.append(_drawn(torch.empty(parameter.num_numbers), "truncated_normal", _PLACES_STD, source))
        elif role in ("bias", "running_mean"):
            parts.append(torch.zeros(parameter.num_numbers))
        else:
            raise ZoovetError(
                f"no training from nothing is known for the {role} '{printable(parameter.name)}' of "
                f"{operation.describe()}; convolutions, linear layers, norms and what is added to rows can be started"
            )
    return torch.cat(parts).numpy()


def _is_added(graph: Graph, site: str) -> bool:
    """Whether a site is a transformer's: added to its rows, as their places are, or joined to them, as a token is."""
    readers = [operation for operation in graph.operations if site in operation.inputs]
    return all(_is_added(graph, one.output) if one.op == "expand" else one.op in ("add", "cat") for one in readers)


def _drawn(weight: torch.Tensor, init: str, init_std: float, source: torch.Generator) -> torch.Tensor:
    """The weight, filled in place."""
    if init == "glorot":
        return torch.nn.init.xavier_uniform_(weight, generator=source)
    if init == "he":
        return torch.nn.init.kaiming_normal_(weight, generator=source)
    if init == "orthogonal":
        return torch.nn.init.orthogonal_(weight, generator=source)
    if init == "normal":
        return weight.normal_(0.0, init_std, generator=source)
    if init == "truncated_normal":
        return torch.nn.init.trunc_normal_(weight, 0.0, init_std, -2 * init_std, 2 * init_std, generator=source)
    raise ZoovetError(f"initializer {init!r} is unknown{nearest(init, INITIALIZERS)}")
