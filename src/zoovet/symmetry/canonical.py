"""Phase canonicalization: every sine neuron's bias in one fixed interval, the function unchanged.

Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, the appendix on SIRENs (Algorithm 1). Half a
turn of the bias, π/w0, is made up for by the sign of the weights that read the neuron.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.symmetry.phases import flip_readers, half_turn, half_turns_kept

__all__ = ["canonicalize"]


def canonicalize(networks: Networks) -> Networks:
    """Bring every sine neuron's phase w0 · b into [−π/2, π/2] without changing a network's function.

    Hidden neurons are left with permutations and signs (w, b, outgoing → −w, −b, −outgoing), which map the interval
    onto itself: ``canonicalize`` commutes with them bit for bit. It is the same for all phase shifts of a network,
    up to the rounding of their biases, and applying it again changes no bit.

    Where a sign cannot pass (sine before max pooling, or at the output) only whole turns keep the function, and the
    interval is [−π, π]. Layers without sine keep their biases.

    The interval is that of all numbers of the networks' precision which are at most π / (2 w0). Its end is irrational:
    no number lies on it, and none has two forms. But a neuron within rounding of the end is within rounding of its
    other form, (w, −b, −outgoing) for (w, b, outgoing), as well: a circle cannot be cut without that.

    Args:
        networks: B networks with sine layers, in any precision and on any device.

    Returns:
        Networks of the same functions, dtype and device. Phases are reduced in float64: they are off by less than
        w0 · b is rounded by in float64, and in lower precision by the rounding of b alone.

    Raises:
        ZoovetError: No layer has a sine, or a weight is NaN or infinite.
    """
    graph = networks.graph
    kept = half_turns_kept(graph)
    if not any(kept):
        raise ZoovetError(
            f"phase canonicalization is for networks with sine layers (SIRENs), got {graph.describe()}; "
            f"leave it out for these networks"
        )
    networks.require_finite()
    biases, signs = list(networks.biases), {}
    for index, step in enumerate(kept):
        if step:
            biases[index], signs[index] = _reduced(biases[index], half_turn(graph, index), flips=step == 1)
    return flip_readers(Networks.from_layers(networks.graph, networks.weights, tuple(biases)), signs)


def _reduced(bias: Tensor, half: float, *, flips: bool) -> tuple[Tensor, Tensor]:
    """Biases within a quarter turn of 0 (half a turn where signs cannot flip), and ±1 for an even or odd half turn.

    Each step is odd in the bias, so that a sign passes through; and none moves a bias that lies within the interval.
    """
    values = torch.fmod(bias.double(), 2 * half)  # exact: no rounding, however many turns there are
    values = values - 2 * half * ((values > half).double() - (values < -half).double())
    signs = torch.ones_like(values)
    end = half
    if flips:
        end = half / 2
        steps = (values > end).double() - (values < -end).double()
        values, signs = values - half * steps, 1 - 2 * steps.abs()
    limit = _largest(end, bias)
    return values.to(bias.dtype).clamp(-limit, limit), signs.detach()


def _largest(end: float, like: Tensor) -> float:
    """The largest number of a precision that is at most ``end``."""
    rounded = torch.tensor(end, dtype=like.dtype)
    if float(rounded) > end:
        rounded = torch.nextafter(rounded, torch.zeros_like(rounded))
    return float(rounded)
