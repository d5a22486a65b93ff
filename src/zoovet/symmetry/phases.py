"""Phases of sine neurons: shifts of a bias that keep the function.

A sine neuron computes sin(w0 (w · x + b)). Moving b by one *half turn*, π/w0, flips the neuron's sign, which whatever
reads it can take back; moving b by a whole turn, 2π/w0, changes nothing.
Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, the appendix on SIRENs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.symmetry.graph_symmetry import graph_symmetry

__all__ = ["PhaseShift", "flip_readers", "half_turn", "half_turns_kept", "random_phase_shift"]


def half_turn(graph: Graph, layer: int) -> float:
    """π / |w0|: how far a bias of a sine layer moves in half a turn."""
    w0 = graph.chain.layers[layer].activation_parameter
    assert w0, f"layer {layer} has no phase"
    return math.pi / abs(w0)


def half_turns_kept(graph: Graph) -> tuple[int, ...]:
    """How many half turns at a time keep the function, layer by layer.

    Args:
        graph: Any graph.

    Returns:
        For each layer 1 (sine, and what follows lets the sign through to the layers that read it), 2 (sine before max
        pooling, or at the output: only whole turns) or 0 (no sine, or w0 = 0: no phase).
    """
    symmetry, kept = graph_symmetry(graph), []
    for layer, site in zip(graph.chain.layers, graph.chain.sites, strict=True):
        if layer.activation != "sine" or not layer.activation_parameter:
            kept.append(0)
        else:
            kept.append(1 if symmetry.site_symmetry(site) == "sign" else 2)
    return tuple(kept)


def flip_readers(networks: Networks, signs: dict[int, Tensor]) -> Networks:
    """Multiply what layers make by ±1, as those who read them see it.

    Args:
        networks: B networks.
        signs: By layer, [B, out] of ±1.

    Returns:
        Networks whose weights that read channel i of layer k are those of ``networks`` times ``signs[k][:, i]``;
        nothing else differs.
    """
    weights = list(networks.weights)
    made_by = {block.target: block.layer for block in networks.graph.chain.blocks}
    for block in networks.graph.chain.blocks:
        sign = signs.get(made_by.get(block.source, -1))
        if sign is not None:
            weight = weights[block.layer]
            columns = sign.to(device=weight.device, dtype=weight.dtype)
            weights[block.layer] = weight * columns.reshape(len(columns), 1, -1, *(1 for _ in weight.shape[3:]))
    return Networks.from_layers(networks.graph, tuple(weights), networks.biases)


@dataclass(frozen=True, eq=False)
class PhaseShift:
    """Half turns of the sine neurons of B networks, each network's its own; they keep the function.

    Beside the permutations and signs of an :class:`~zoovet.symmetry.actions.Action` these are all that may be done to
    a sine network. They move biases by constants, so they do not act on changes of weights.

    Attributes:
        graph: Of the networks it is for.
        half_turns: For each layer, [B, out] int64; multiples of :func:`half_turns_kept`, 0 where that is 0.

    Raises:
        ZoovetError: A shape does not fit the graph, or a shift would change the function; the message names the layer.
    """

    graph: Graph
    half_turns: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "half_turns", tuple(self.half_turns))
        if len(self.half_turns) != len(self.graph.chain.layers):
            raise ZoovetError(
                f"the graph has {len(self.graph.chain.layers)} layers, got {len(self.half_turns)} half_turns"
            )
        size = len(self)
        for index, (turns, shape, kept) in enumerate(
            zip(self.half_turns, self.graph.chain.bias_shapes, half_turns_kept(self.graph), strict=True)
        ):
            if tuple(turns.shape) != (size, *shape) or turns.dtype != torch.int64:
                raise ZoovetError(
                    f"half_turns[{index}] must be int64 of the shape {(size, *shape)} (networks, channels), "
                    f"got {turns.dtype} of {tuple(turns.shape)}"
                )
            if bool((turns != 0 if kept == 0 else turns % kept != 0).any()):
                allowed = "whole turns (even numbers)" if kept else "none, for it has no sine"
                raise ZoovetError(f"half_turns[{index}] would change the function: layer {index} allows {allowed}")

    def __call__(self, networks: Networks) -> Networks:
        """Shift the phases of B networks.

        Args:
            networks: Of the shift's graph and number, in any precision and on any device.

        Returns:
            Networks of the same functions; biases are added up in float64 and rounded once.

        Raises:
            ZoovetError: The networks are of another graph or number.
        """
        if networks.graph != self.graph or len(networks) != len(self):
            raise ZoovetError(
                f"this phase shift is for {len(self)} networks {self.graph.describe()}, "
                f"got {len(networks)} of {networks.graph.describe()}"
            )
        biases, signs = list(networks.biases), {}
        for index, kept in enumerate(half_turns_kept(self.graph)):
            if kept == 0:
                continue
            turns = self.half_turns[index].to(networks.device)
            moved = biases[index].double() + turns.double() * half_turn(self.graph, index)
            biases[index] = moved.to(networks.dtype)
            signs[index] = 1 - 2 * (turns % 2)
        return flip_readers(Networks.from_layers(networks.graph, networks.weights, tuple(biases)), signs)

    def __len__(self) -> int:
        return self.half_turns[0].shape[0] if self.half_turns[0].ndim else 0


def random_phase_shift(
    graph: Graph, batch_size: int, generator: torch.Generator, *, max_half_turns: int = 4
) -> PhaseShift:
    """Draw a phase shift, another one for each network.

    Args:
        graph: Of the networks to shift.
        batch_size: Their number B.
        generator: Source of all randomness; the shift lies on its device.
        max_half_turns: Uniform from −this to this, among those that keep the function.

    Raises:
        ZoovetError: ``max_half_turns`` is negative.
    """
    if max_half_turns < 0:
        raise ZoovetError(f"max_half_turns must not be negative, got {max_half_turns}")
    turns = []
    for (size,), kept in zip(graph.chain.bias_shapes, half_turns_kept(graph), strict=True):
        most = max_half_turns // kept if kept else 0
        drawn = torch.randint(-most, most + 1, (batch_size, size), generator=generator, device=generator.device)
        turns.append(drawn * kept)
    return PhaseShift(graph, tuple(turns))
