"""Numbers that describe a network whatever the order, scale or sign of its hidden channels.

Two kinds: statistics of each layer's weights in a normal form, and what the network answers to a few fixed patterns.
The patterns tell what the weights alone hardly show: for what images a network was trained.

Shapes: B networks, I and O a layer's channels in and out, K numbers of an edge (height × width of the kernel).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoovet.networks import Graph, Networks, fold_batch_norms, run
from zoovet.symmetry import canonicalize, graph_symmetry, normal_scales
from zoovet.symmetry.phases import half_turns_kept

__all__ = ["PARTS", "invariant_statistics", "with_unit_channels"]

PARTS = ("size", "answers", "weights")
"""Kinds of statistics; see :func:`invariant_statistics`."""

_QUANTILES = (0.25, 0.5, 0.75, 0.9, 1.0)
_NUM_SINGULAR_VALUES = 8
_FLOOR = 1e-2
"""Added to shares before their logarithm: what lies far below it counts as none."""
_SMALLEST = 1e-12
_MAX_NETWORKS, _MAX_NUMBERS = 256, 2**23
"""Networks, and their numbers, that are described at a time; ``torch.quantile`` refuses more than 2²⁴."""
_LARGEST = 1e30
"""Stands for numbers that overflow: farther from everything than any statistic of a network that was trained."""

_PATTERNS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda x, y: -torch.ones_like(x + y),
    lambda x, y: torch.zeros_like(x + y),
    lambda x, y: torch.ones_like(x + y),
    lambda x, y: _two_tone(x.square() + y.square() < 0.5),
    lambda x, y: _two_tone((x.abs() < 0.3) & (y.abs() < 2)),
    lambda x, y: _two_tone((y.abs() < 0.3) & (x.abs() < 2)),
    lambda x, y: torch.sin(8 * x) + 0 * y,
    lambda x, y: torch.sin(8 * y) + 0 * x,
)
"""Images on x, y in [−1, 1]: plain black, gray and white, a disc, an upright and a lying bar, two sets of stripes."""


def invariant_statistics(networks: Networks) -> dict[str, Tensor]:
    """Statistics that no symmetry of the networks changes (:func:`~zoovet.symmetry.graph_symmetry`).

    Sizes come as logarithms, so that 0.1 is little of any of them.

    Args:
        networks: B networks, one at least, in any precision and on any device.

    Returns:
        For each of :data:`PARTS` float64 [B, F] on the CPU, finite; F depends on the graph alone.

        - ``size``: the spread of the outputs for eight fixed patterns;
        - ``answers``: those outputs, in units of their spread;
        - ``weights``: of each layer, its scales normalized, root mean square, quantiles and fourth moment of the
          weights' sizes, quantiles of the channels' norms, leading singular values of both unfoldings, the kernel's
          squares by position and products of neighbours, norm of the biases and quantiles of their sizes. Of a
          graph that is no chain the same of each parameter, its batch norms folded.
    """
    num_networks = max(1, min(_MAX_NETWORKS, _MAX_NUMBERS // networks.graph.num_parameters))
    pieces = [networks[start : start + num_networks] for start in range(0, len(networks), num_networks)]
    parts = [_statistics(piece.detach().to("cpu", torch.float64)) for piece in pieces]
    return {name: torch.cat([part[name] for part in parts]) for name in PARTS}


def _statistics(networks: Networks) -> dict[str, Tensor]:
    """Of float64 networks on the CPU, all at once."""
    if networks.graph.is_chain and any(half_turns_kept(networks.graph)):
        networks = canonicalize(networks)
    size, answers = _answers(networks)
    layers = []
    if networks.graph.is_chain:
        networks = with_unit_channels(networks)
        for weight, bias in zip(networks.weights, networks.biases, strict=True):
            layers += [_weight_statistics(weight), _bias_statistics(bias)]
    else:
        for tensor in normal_scales(fold_batch_norms(networks)).parameters.values():
            layers.append(_weight_statistics(tensor) if tensor.ndim > 2 else _bias_statistics(tensor))
    parts = dict(zip(PARTS, (size, answers, torch.cat(layers, dim=1)), strict=True))
    return {
        name: torch.nan_to_num(part, nan=_LARGEST, posinf=_LARGEST, neginf=-_LARGEST) for name, part in parts.items()
    }


def with_unit_channels(networks: Networks) -> Networks:
    """Chains of the same functions whose hidden channels, where they may be scaled, read weights of the norm 1.

    Unlike :func:`zoovet.symmetry.normal_scales`, which is for any graph, the bias counts as one of the weights;
    checkpoints hold statistics of networks in this form. What a channel loses, the weights that read it gain, so that
    in the end the last layer holds all of the size. Of a channel that is always 0, since its weights and bias are, the
    weights that read it become 0 as well.

    Args:
        networks: B networks.
    """
    symmetry, sites = graph_symmetry(networks.graph), networks.graph.chain.sites
    weights, biases = list(networks.weights), list(networks.biases)
    norms: dict[int, Tensor] = {}
    for block in networks.graph.chain.blocks:
        weight, bias = weights[block.layer], biases[block.layer]
        if block.source in norms:
            weight = weight * _over_edges(norms[block.source][:, None], weight)
        if symmetry.site_symmetry(sites[block.layer]) in ("scale", "nonzero"):
            norm = (weight.flatten(2).square().sum(dim=2) + bias.square()).sqrt()
            inverse = torch.where(norm > 0, 1 / norm, 0.0)
            weight, bias = weight * _over_edges(inverse[:, :, None], weight), bias * inverse
            norms[block.target] = norm
        weights[block.layer], biases[block.layer] = weight, bias
    return Networks.from_layers(networks.graph, tuple(weights), tuple(biases))


def _over_edges(factors: Tensor, weight: Tensor) -> Tensor:
    """Factors [B, O or 1, I or 1] in a shape that multiplies a weight [B, O, I, \\*kernel]."""
    return factors.reshape(*factors.shape, *(1 for _ in weight.shape[3:]))


def _weight_statistics(weight: Tensor) -> Tensor:
    """[B, O, I, \\*kernel] → [B, f]."""
    size = weight.flatten(1).square().mean(dim=1, keepdim=True).sqrt() + _SMALLEST
    units = weight / size.reshape(-1, *(1 for _ in weight.shape[1:]))
    edges = units.flatten(3) if units.ndim > 3 else units[..., None]
    parts = [
        size.log(),
        units.flatten(1).pow(4).mean(dim=1, keepdim=True).clamp(min=_SMALLEST).log(),
        _log_quantiles(units.flatten(1).abs()),
        _log_quantiles(edges.square().mean(dim=(2, 3)).sqrt()),
        _log_quantiles(edges.square().mean(dim=(1, 3)).sqrt()),
        _spectrum(edges.flatten(2)),
        _spectrum(edges.transpose(1, 2).flatten(2)),
    ]
    if units.ndim == 5:
        parts.append((edges.square().mean(dim=(1, 2)) + _FLOOR).log())
        steps = ((0, 1), (1, 0), (1, 1))
        parts += [_neighbours(units, *step) for step in steps] + [_neighbours(units.flip(-1), 1, 1)]
    return torch.cat(parts, dim=1)


def _bias_statistics(bias: Tensor) -> Tensor:
    """[B, O] → [B, f]."""
    size = bias.square().sum(dim=1, keepdim=True).sqrt()
    return torch.cat([(size + _FLOOR).log(), _log_quantiles(bias.abs())], dim=1)


def _log_quantiles(sizes: Tensor) -> Tensor:
    """[B, n] → [B, quantiles]."""
    quantiles = torch.tensor(_QUANTILES, dtype=sizes.dtype)
    return (torch.quantile(sizes, quantiles, dim=1).T + _FLOOR).log()


def _spectrum(matrices: Tensor) -> Tensor:
    """[B, rows, columns] → [B, most values]: logarithms of the leading singular values' shares of the whole."""
    values: Tensor = torch.linalg.svdvals(torch.nan_to_num(matrices))
    whole = values.square().sum(dim=1, keepdim=True).sqrt() + _SMALLEST
    return (values[:, :_NUM_SINGULAR_VALUES] / whole + _FLOOR).log()


def _neighbours(units: Tensor, down: int, right: int) -> Tensor:
    """Mean product of a kernel's numbers and those some rows and columns further, [B, 1]; 0 where there are none."""
    height, width = units.shape[-2:]
    if height <= down or width <= right:
        return units.new_zeros(len(units), 1)
    products = units[..., down:, right:] * units[..., : height - down, : width - right]
    return products.flatten(1).mean(dim=1, keepdim=True)


def _answers(networks: Networks) -> tuple[Tensor, Tensor]:
    """Logarithm of the spread [B, 1] of outputs for the patterns, and these in its units [B, patterns · outputs]."""
    outputs = run(networks, _patterns(networks.graph))
    outputs = (outputs.mean(dim=(3, 4)) if outputs.ndim == 5 else outputs).flatten(1)
    largest = outputs.abs().amax(dim=1, keepdim=True)
    spread = outputs.std(dim=1, keepdim=True) + _FLOOR * largest + _SMALLEST  # never far below what it divides
    return spread.log(), outputs / spread


def _patterns(graph: Graph) -> Tensor:
    """float64 [patterns, *input_shape]; features count as an image of one row."""
    height, width = graph.input_shape[1:] if len(graph.input_shape) == 3 else (1, graph.input_shape[0])
    y, x = (_axis(length).reshape(shape) for length, shape in ((height, (-1, 1)), (width, (1, -1))))
    images = torch.stack([pattern(x, y) for pattern in _PATTERNS])
    if len(graph.input_shape) == 1:
        return images[:, 0]
    return images[:, None].expand(-1, graph.input_shape[0], -1, -1)


def _axis(length: int) -> Tensor:
    return torch.linspace(-1, 1, length, dtype=torch.float64) if length > 1 else torch.zeros(1, dtype=torch.float64)


def _two_tone(mask: Tensor) -> Tensor:
    """White where the mask is true, black elsewhere."""
    return 2.0 * mask.double() - 1.0
