"""A network from elsewhere as what can be healed, and the same network after that."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import LowPrecision, Runnable, RunnableGraphs, RunnableModule
from zoovet.healing import Editable, FloatingWeights, editable_graph, editable_module
from zoovet.networks import Networks, fold_batch_norms
from zoovet.vet.network import Network
from zoovet.vet.runnable_network import LogProbabilities, runnable, sought_in

__all__ = ["change_of", "editable_network", "limited", "with_weights"]


def editable_network(network: Network, image_shape: tuple[int, ...] | None = None) -> Editable:
    """What may be edited in a network, batch norms as they were read.

    Args:
        network: Its input scaling is known.
        image_shape: As :func:`~zoovet.vet.runnable_network.runnable` takes it.

    Raises:
        ZoovetError: As :func:`~zoovet.vet.runnable_network.runnable`.
    """
    made = runnable(network if network.unfolded is None else replace(network, networks=network.unfolded), image_shape)
    inner = made.network if isinstance(made, LogProbabilities) else made
    if isinstance(inner, RunnableModule):
        return editable_module(inner.module, inner.with_weights)
    assert isinstance(inner, RunnableGraphs)

    def run_again(networks: Networks) -> Runnable:
        again = RunnableGraphs(networks)
        return LogProbabilities(again) if isinstance(made, LogProbabilities) else again

    def run_fast(networks: Networks) -> Runnable:
        return LowPrecision(run_again(fold_batch_norms(networks)))

    is_large = isinstance(sought_in(network, made)[0], LowPrecision)
    return editable_graph(inner.networks, run_again, run_fast if is_large else None)


def limited(editable: Editable, only: Container[str] | None) -> Editable:
    """The same network, of whose weights only some may be edited; all where nobody says which.

    Raises:
        ZoovetError: None may.
    """
    if only is None:
        return editable
    weights = {name: own for name, own in editable.weights.items() if name in only}
    if not weights:
        raise ZoovetError("none of its weights stand in the file as they are computed with, so that none can be edited")
    return replace(editable, weights=weights)


def with_weights(network: Network, weights: FloatingWeights) -> Network:
    """The network with other numbers for the weights that :func:`editable_network` gives."""
    if network.networks is not None:
        own = network.networks if network.unfolded is None else network.unfolded
        changed = {name: tensor.detach().unsqueeze(0).to(own.parameters[name]) for name, tensor in weights.items()}
        edited = Networks(own.graph, {**own.parameters, **changed})
        if network.unfolded is None:
            return replace(network, networks=edited)
        return replace(network, networks=fold_batch_norms(edited), unfolded=edited)
    module = copy.deepcopy(network.module)
    assert module is not None
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, tensor in weights.items():
            parameters[_own_name(name, parameters)].copy_(tensor)
    return replace(network, module=module)


def change_of(before: FloatingWeights, after: FloatingWeights) -> dict[str, float]:
    """Of each tensor, the norm of its change over its norm, the largest first."""
    shares = {}
    for name, own in before.items():
        difference, norm = float((after[name] - own).norm()), float(own.norm())
        shares[name] = difference / norm if norm else (1.0 if difference else 0.0)
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _own_name(name: str, parameters: Mapping[str, Tensor]) -> str:
    """A parameter's name in the module itself, where images were flattened before it."""
    return name if name in parameters else name.partition(".")[2]
