"""What a symmetry check needs of the networks that it is run on."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zoovet.networks.batch import Networks
from zoovet.symmetry.actions import Action, random_action
from zoovet.symmetry.graph_symmetry import GraphSymmetry, graph_symmetry
from zoovet.symmetry.ties import NONZERO, UNSCALED

__all__ = [
    "Declared",
    "description",
    "draw_action",
    "has_scalars",
    "tensors_of",
    "with_other_weights",
]

Declared = Literal["groups", "network", "permutation"]


def description(networks: Networks) -> str:
    """Which networks, for messages."""
    return networks.graph.in_words()


def tensors_of(networks: Networks) -> tuple[Tensor, ...]:
    """All tensors, each [B, rows, …]."""
    return tuple(tensor if tensor.ndim > 1 else tensor.unsqueeze(1) for tensor in networks.parameters.values())


def has_scalars(networks: Networks, declared: Declared) -> bool:
    """Whether any channel may be multiplied with anything, by the symmetries that were declared."""
    return bool(_of_classes(graph_symmetry(networks.graph), declared).allowed.any())


def draw_action(networks: Networks, generator: torch.Generator, declared: Declared, max_log_scale: float) -> Action:
    """A random action on these networks.

    Args:
        networks: What it is to act on.
        generator: Source of all randomness.
        declared: Which symmetries it is drawn from.
        max_log_scale: Scalings are log-uniform in e^±this.
    """
    symmetry = _of_classes(graph_symmetry(networks.graph), declared)
    return random_action(symmetry, len(networks), generator, max_log_scale=max_log_scale)


def with_other_weights(networks: Networks, generator: torch.Generator) -> Networks:
    """The networks with noise as large as the weights (1 where a tensor is all zeros); constants stay as they are."""

    def noisy(tensor: Tensor) -> Tensor:
        size = tensor.square().reshape(len(tensor), -1).mean(dim=1).sqrt()
        size = torch.where(size > 0, size, torch.ones_like(size)).reshape(-1, *(1 for _ in tensor.shape[1:]))
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        return tensor + size * noise.to(tensor.device)

    kept = {one.name for one in networks.graph.parameters if one.is_constant}
    for operation in networks.graph.operations:
        kept |= {name for role, name in operation.parameters.items() if role.startswith("running")}
    return Networks(
        networks.graph,
        {name: tensor if name in kept else noisy(tensor) for name, tensor in networks.parameters.items()},
    )


def _of_classes(symmetry: GraphSymmetry, declared: Declared) -> GraphSymmetry:
    """A graph's symmetry with no more scalars than were declared."""
    if declared == "groups":
        return symmetry
    shared = UNSCALED
    if declared == "network":
        shared = int(np.bitwise_and.reduce(symmetry.allowed[symmetry.free], initial=NONZERO))
    return symmetry.with_scalars(shared)
