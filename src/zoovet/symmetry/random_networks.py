"""Random networks of any graph, with zeros where zeros cause trouble: what a symmetry check should be run on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph, Operation

__all__ = ["random_networks"]


def random_networks(
    graph: Graph,
    batch_size: int,
    generator: torch.Generator,
    *,
    zero_fraction: float = 0.1,
    dtype: torch.dtype = torch.float64,
) -> Networks:
    """Draw networks whose signals neither vanish nor explode, with zeros where zeros cause trouble.

    Args:
        graph: What they are.
        batch_size: Their number B.
        generator: Source of all randomness.
        zero_fraction: Of convolutions and linear operations: the share of weights that are 0, again of whole kernels,
            of biases, of channels into which only zeros lead (dead; not of the last such operation), and of channels
            from which only zeros lead (unread; not of the first).
        dtype: Of the weights. They are drawn in float64.

    Returns:
        The networks, on the generator's device. Weights of convolutions and linear operations are normal with
        standard deviation 1/√fan-in (2/(w0 √fan-in) before a sine), their biases a third of that; what a norm or a
        slope multiplies with lies between 0.5 and 1.5, as variances do; what else is added has a deviation of 0.3.

    Raises:
        ZoovetError: ``zero_fraction`` is not in [0, 1].
    """
    if not 0 <= zero_fraction <= 1:
        raise ZoovetError(f"zero_fraction must lie in [0, 1], got {zero_fraction}")
    draws = _Draws(batch_size, generator, zero_fraction)
    dense = [operation for operation in graph.operations if operation.op in ("conv2d", "linear")]
    shapes = [graph.shapes[operation.parameters["weight"]] for operation in dense]
    alive: list[Tensor | None] = [*(draws.kept(shape[0]) for shape in shapes[:-1]), None]
    read: list[Tensor | None] = [None, *(draws.kept(_channels(graph, one)) for one in dense[1:])]
    drawn: dict[str, Tensor] = {}
    for operation, targets, sources in zip(dense, alive, read, strict=True):
        drawn |= _dense(graph, operation, draws, targets, sources)
    for operation in graph.operations:
        for role, name in operation.parameters.items():
            if name not in drawn:
                is_factor = role in ("running_var", "weight")
                shape = graph.shapes[name]
                drawn[name] = 0.5 + draws.uniform(*shape) if is_factor else 0.3 * draws.normal(*shape)
    return Networks(graph, {name: drawn[name].to(dtype) for name in graph.shapes})


class _Draws:
    """Numbers for B networks."""

    def __init__(self, batch_size: int, generator: torch.Generator, zero_fraction: float) -> None:
        self._batch_size = batch_size
        self._generator = generator
        self._zero_fraction = zero_fraction

    def normal(self, *shape: int) -> Tensor:
        """[B, \\*shape] of deviation 1."""
        size, device = (self._batch_size, *shape), self._generator.device
        return torch.randn(size, generator=self._generator, device=device, dtype=torch.float64)

    def uniform(self, *shape: int) -> Tensor:
        """[B, \\*shape] from 0 to 1."""
        size, device = (self._batch_size, *shape), self._generator.device
        return torch.rand(size, generator=self._generator, device=device, dtype=torch.float64)

    def kept(self, *shape: int) -> Tensor:
        """[B, \\*shape], whether a number is not to be 0."""
        size, device = (self._batch_size, *shape), self._generator.device
        return torch.rand(size, generator=self._generator, device=device) >= self._zero_fraction


def _channels(graph: Graph, operation: Operation) -> int:
    """Channels that a row of the weight reads, those of a flattened map not counted position by position."""
    columns = graph.shapes[operation.parameters["weight"]][1]
    maker = graph.makers.get(operation.inputs[0])
    if maker is not None and maker.op == "flatten":
        return graph.sites[maker.inputs[0]].shape[0]
    return columns


def _dense(
    graph: Graph, operation: Operation, draws: _Draws, targets: Tensor | None, sources: Tensor | None
) -> dict[str, Tensor]:
    """Weight and bias of a convolution or a linear operation.

    Args:
        graph: What it is part of.
        operation: The operation.
        draws: Source of numbers.
        targets: [B, out], which of its channels are not dead.
        sources: [B, channels], which of those it reads are read.
    """
    name, num_channels = operation.parameters["weight"], _channels(graph, operation)
    num_rows, *rest = graph.shapes[name]
    scale = 1 / math.sqrt(math.prod(rest))
    sines = [one for one in graph.operations if one.op == "sin" and operation.output in one.inputs]
    if sines and sines[0].attributes["frequency"]:
        scale *= 2 / sines[0].attributes["frequency"]
    shape: Sequence[int] = (num_rows, num_channels, math.prod(rest) // num_channels)
    weight = scale * draws.normal(*shape) * draws.kept(*shape) * draws.kept(*shape[:2], 1)
    bias = None
    if "bias" in operation.parameters:
        bias = scale / 3 * draws.normal(num_rows) * draws.kept(num_rows)
    if targets is not None:
        weight = weight * targets[:, :, None, None]
        bias = bias * targets if bias is not None else None
    if sources is not None:
        weight = weight * sources[:, None, :, None]
    drawn = {name: weight.reshape(len(weight), num_rows, *rest)}
    return drawn if bias is None else {**drawn, operation.parameters["bias"]: bias}
