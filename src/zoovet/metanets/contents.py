"""Contents: the numbers of a bucket's nodes and edges, and sizes of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.metanets.kernels import flat_kernels
from zoovet.metanets.layout import Bucket, of_cells
from zoovet.metanets.reciprocal_norm import smallest_square
from zoovet.metanets.structure import StructureBlock

__all__ = ["Sizes", "Weights", "block_ratio", "channel_sizes", "gate_numbers"]

Sizes = Sequence[Tensor | None]
"""Per group [B, n], or ``None`` for 1."""

_DEEP = 16
"""Sizes grow or shrink with every block; beyond this depth they are taken in float64, whose range is larger."""


@dataclass(frozen=True)
class Weights:
    """One bucket's tensors.

    Attributes:
        weights: Per block [B · cells, targets, sources, \\*kernel]; ``None`` for a block of no weights.
        biases: Per group [B, n], or ``None`` where it has none.
        node_features: Per group [B, n, features], or ``None``.
        gradients: Pairs like weights and biases, but they scale as their reciprocals.
    """

    weights: tuple[Tensor | None, ...]
    biases: tuple[Tensor | None, ...]
    node_features: tuple[Tensor, ...] | None
    gradients: tuple[tuple[tuple[Tensor | None, ...], tuple[Tensor | None, ...]], ...] = ()

    @property
    def like(self) -> Tensor:
        """A tensor of the networks' precision and device."""
        return next(tensor for tensor in (*self.weights, *self.biases) if tensor is not None)


def channel_sizes(bucket: Bucket, content: Weights, *, mean: bool = False) -> list[Tensor | None]:
    """A size for every channel that scales with it: √(bias² + Σ over its sources of ‖kernel‖² · size²).

    Args:
        bucket: What the networks are.
        content: Their weights.
        mean: Take the mean over its sources instead, so that sizes do not grow from layer to layer.

    Returns:
        Per group [B, n], or ``None`` for 1: the input, hidden groups that no positive number scales, and an output
        group that no scaled group leads to. Sizes whose squares are too small for their precision are 0. In networks of
        many layers they are float64.
    """
    structure = bucket.structure
    dtype = torch.float64 if structure.num_hidden_depths > _DEEP else content.like.dtype
    is_scaled = [symmetry in ("scale", "nonzero") for symmetry in bucket.symmetries]
    incoming: list[list[int]] = [[] for _ in structure.groups]
    for index, block in enumerate(structure.blocks):
        if block.kind != "gate":
            incoming[block.target].append(index)
    sizes: list[Tensor | None] = [None] * len(structure.groups)
    for position, group in enumerate(structure.groups):
        sources = [structure.blocks[index].source for index in incoming[position]]
        if not is_scaled[position] and not (group.role == "output" and any(is_scaled[source] for source in sources)):
            continue
        bias = content.biases[position]
        total = (
            content.like.new_zeros(bucket.size, group.size, dtype=dtype) if bias is None else bias.to(dtype).square()
        )
        for index in incoming[position]:
            block = structure.blocks[index]
            total = _with_sources(total, block, content.weights[index], sizes[block.source], mean=mean)
        is_zero = total < smallest_square(total.dtype)
        sizes[position] = torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, total).sqrt())
    return sizes


def _with_sources(
    total: Tensor, block: StructureBlock, weight: Tensor | None, size: Tensor | None, *, mean: bool
) -> Tensor:
    """Squares of sizes [B, n] with what one block adds to them."""
    source = None if size is None else of_cells(size, block.source_index, block.cells)
    if weight is None or block.is_tied:
        shape = (len(total) * block.cells, block.num_targets, block.num_sources)
        kernels = total.new_ones(shape)
    else:
        kernels = flat_kernels(weight.to(total.dtype)).square().sum(3)
    from_sources = kernels if source is None else kernels * source.square()[:, None, :]
    from_all = from_sources.mean(2) if mean else from_sources.sum(2)
    from_all = from_all.reshape(len(total), -1)
    if block.target_index is None:
        return total + from_all
    return total.index_add(1, block.target_index.to(total.device), from_all)


def block_ratio(block: StructureBlock, sizes: Sizes, *, is_reversed: bool = False) -> Tensor | float:
    """size_j / size_i of a block's edges from j to i, [B · cells, n_i, n_j, 1]; 0 where size_i is 0; 1 where tied.

    With ``is_reversed``, the size of the target over that of the source, [B · cells, n_j, n_i, 1].
    """
    if block.is_tied or block.kind == "gate":
        return 1.0
    ends = [
        None if size is None else of_cells(size, index, block.cells)
        for size, index in ((sizes[block.source], block.source_index), (sizes[block.target], block.target_index))
    ]
    source, target = reversed(ends) if is_reversed else ends
    ratio: Tensor | float = 1.0
    if target is not None:
        is_zero = target == 0
        ratio = torch.where(is_zero, 0.0, 1.0 / torch.where(is_zero, 1.0, target))[:, :, None, None]
    return ratio if source is None else ratio * source[:, None, :, None]


def gate_numbers(block: StructureBlock, sizes: Sizes, like: Tensor, *, inverse: bool) -> Tensor | None:
    """What a gate's edges carry, [B · cells, targets, sources, 1]: their targets' sizes, or with ``inverse`` 1 / them.

    ``None`` where all are 1.
    """
    size = sizes[block.target]
    if size is None:
        return None
    target = of_cells(size, block.target_index, block.cells)[:, :, None, None]
    if inverse:
        is_zero = target == 0
        target = torch.where(is_zero, 0.0, 1.0 / torch.where(is_zero, 1.0, target))
    return target.expand(-1, -1, block.num_sources, -1).to(like.dtype)
