"""The graph's first features: biases and kernels in rows, projections, positional embeddings.

Shapes: N nodes, E edges, d features, K numbers of an edge that any kernel in the batch uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.layout import Bucket, Chunk, EdgeLayout, EdgeSegment, NodeLayout
from zoovet.metanets.reciprocal_norm import smallest_square

__all__ = [
    "EdgeEmbedding",
    "EdgeFeatures",
    "NodeEmbedding",
    "Weights",
    "channel_sizes",
    "edge_rows",
    "kernel_positions",
    "node_rows",
    "used_positions",
]


_GRADIENT_UNIT = 0.2
"""Gradients, whose size is about 1, times this are about as large as weights."""


@dataclass(frozen=True)
class Weights:
    """One bucket's tensors: per layer [B, out, in, \\*kernel] and [B, out], per group [B, n, features] or ``None``.

    Gradients are like weights and biases, but scale as their reciprocals.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    node_features: tuple[Tensor, ...] | None
    gradients: tuple[tuple[tuple[Tensor, ...], tuple[Tensor, ...]], ...] = ()


@dataclass(frozen=True)
class EdgeFeatures:
    """Edge features [E, d], as they are or as rows [E, K] still to be multiplied with ``projection`` [d, K].

    A linear map of them is then one product with ``weight @ projection`` on short rows.

    Attributes:
        parts: Consecutive rows, as they were computed; never put together where the next round reads the same parts.
        projection: See above.
    """

    parts: tuple[Tensor, ...]
    projection: Tensor | None = None

    def rows(self) -> Tensor:
        """All rows in one tensor."""
        return self.parts[0] if len(self.parts) == 1 else torch.cat(self.parts)

    def by_chunk(self, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Tensor]]:
        """Every chunk with its rows."""
        starts = accumulate((part.shape[0] for part in self.parts), initial=0)
        parts = {(start, part.shape[0]): part for start, part in zip(starts, self.parts, strict=False)}
        if all((chunk.start, chunk.num_rows) in parts for chunk in chunks):
            return ((chunk, parts[chunk.start, chunk.num_rows]) for chunk in chunks)
        rows = self.rows()
        sizes, position = [], 0
        for chunk in chunks:
            sizes += [chunk.start - position, chunk.num_rows]
            position = chunk.start + chunk.num_rows
        sizes.append(rows.shape[0] - position)
        return zip(chunks, torch.split(rows, sizes)[1::2], strict=True)

    def fold(self, weight: Tensor) -> Tensor:
        """The matrix that maps ``rows`` to what ``weight`` [h, d] makes of the features."""
        return weight if self.projection is None else weight @ self.projection


def kernel_positions(kernel: tuple[int, ...], max_kernel: tuple[int, int]) -> list[int]:
    """Where a kernel's numbers lie among those of the largest kernel, flattened row by row.

    Smaller kernels sit in the centre, ⌊difference / 2⌋ from the start; a weight without kernel axes at position 0.
    """
    if not kernel:
        return [0]
    top, left = (max_kernel[0] - kernel[0]) // 2, (max_kernel[1] - kernel[1]) // 2
    return [(top + row) * max_kernel[1] + left + column for row in range(kernel[0]) for column in range(kernel[1])]


def used_positions(buckets: Sequence[Bucket], max_kernel: tuple[int, int]) -> list[int]:
    """All positions that a kernel of these networks uses, in order: K of them."""
    kernels = {layer.kernel for bucket in buckets for layer in bucket.spec.layers}
    return sorted({position for kernel in kernels for position in kernel_positions(kernel, max_kernel)})


def node_rows(
    layout: NodeLayout, buckets: Sequence[Bucket], contents: Sequence[Weights], input_feature: float
) -> Tensor:
    """Biases, their gradients, and what the caller added: [N, 1 + num_gradients + num_node_features].

    Input nodes have ``input_feature`` and no gradients. A gradient is multiplied with the square of its channel's size,
    so that it scales as the bias does.
    """
    pairs = zip(buckets, contents, strict=True)
    sizes = [channel_sizes(bucket, content, mean=True) if content.gradients else [] for bucket, content in pairs]
    parts = []
    for segment in layout.segments:
        content = contents[segment.key[0]]
        if segment.role == "input":
            column = content.biases[0].new_full((segment.num_rows, 1), input_feature)
            column = functional.pad(column, (0, len(content.gradients)))
        else:
            column = content.biases[segment.key[1] - 1].reshape(-1, 1)
            for _, biases in content.gradients:
                size, gradient = sizes[segment.key[0]][segment.key[1]], biases[segment.key[1] - 1]
                scaled = gradient if size is None or segment.role == "output" else gradient * size.square()
                column = torch.cat([column, _GRADIENT_UNIT * scaled.reshape(-1, 1)], dim=1)
        if content.node_features is not None:
            column = torch.cat([column, content.node_features[segment.key[1]].flatten(0, 1)], dim=1)
        parts.append(column)
    return torch.cat(parts)


def flat_kernels(weight: Tensor) -> Tensor:
    """A layer's weights with flattened kernels, [B, out, in, K]."""
    return weight.flatten(3) if weight.ndim > 3 else weight.unsqueeze(3)


def channel_sizes(bucket: Bucket, content: Weights, *, mean: bool = False) -> list[Tensor | None]:
    """A size for every channel that scales with it: √(bias² + Σ over its sources of ‖kernel‖² · size²).

    Args:
        bucket: What the networks are.
        content: Their weights.
        mean: Take the mean over its sources instead, so that sizes do not grow from layer to layer.

    Returns:
        Per group [B, n], or ``None`` for 1: the input, hidden groups that no positive number scales, and an output
        group that no scaled group leads to. Sizes whose squares are too small for their precision are 0.
    """
    groups, symmetries = bucket.spec.groups, bucket.symmetries
    is_scaled = [symmetry in ("scale", "nonzero") for symmetry in symmetries]
    sizes: list[Tensor | None] = [None] * len(groups)
    for position, group in enumerate(groups):
        blocks = [block for block in bucket.spec.blocks if block.target == position]
        if not is_scaled[position] and not (
            group.role == "output" and any(is_scaled[block.source] for block in blocks)
        ):
            continue
        squares = []
        for block in blocks:
            kernels = flat_kernels(content.weights[block.layer]).square().sum(3)
            source = sizes[block.source]
            from_sources = kernels if source is None else kernels * source.square()[:, None, :]
            from_all = from_sources.mean(2) if mean else from_sources.sum(2)
            squares.append(content.biases[block.layer].square() + from_all)
        total = torch.stack(squares).sum(0)
        is_zero = total < smallest_square(total.dtype)
        sizes[position] = torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, total).sqrt())
    return sizes


def edge_rows(
    layout: EdgeLayout,
    buckets: Sequence[Bucket],
    contents: Sequence[Weights],
    max_kernel: tuple[int, int],
    *,
    inverse: bool,
) -> Tensor:
    """Kernels in rows, [E, K].

    Args:
        layout: Which edges, and in which direction.
        buckets: Whose.
        contents: Their weights.
        max_kernel: (height, width) that kernels are padded to.
        inverse: Multiply the kernel w from j to i with (size_j / size_i)², so that it scales as q_j / q_i instead of
            q_i / q_j. This is the pseudo-inverse w / ‖w‖² times the squared share, at most 1, that the edge has in the
            size of i: finite everywhere, 0 for a zero kernel, and small where the weight is.

    Returns:
        The rows, for all positions that any kernel uses; then in the same way each gradient, which scales as q_j / q_i,
        and so is multiplied with (size_i / size_j)² where ``inverse`` is not asked for.
    """
    used = used_positions(buckets, max_kernel)
    needs_sizes = inverse or any(content.gradients for content in contents)
    pairs = zip(buckets, contents, strict=True)
    sizes = [channel_sizes(bucket, content, mean=not inverse) for bucket, content in pairs] if needs_sizes else []
    parts = []
    for segment in layout.segments:
        bucket, content = buckets[segment.key[0]], contents[segment.key[0]]
        block = bucket.spec.blocks[segment.key[1]]
        ends = [sizes[segment.key[0]][end] for end in (block.source, block.target)] if needs_sizes else [None, None]
        kernels = [flat_kernels(content.weights[block.layer])]
        if inverse:
            kernels = [_twice(kernels[0], _size_ratio(*ends))]
        for weights, _ in content.gradients:
            gradient = flat_kernels(weights[block.layer])
            if not inverse:
                gradient = _twice(gradient.transpose(1, 2), _size_ratio(*reversed(ends))).transpose(1, 2)
            kernels.append(_GRADIENT_UNIT * gradient)
        positions = kernel_positions(bucket.spec.layers[block.layer].kernel, max_kernel)
        columns = [_rows(one, segment.num_rows, positions, used, is_reversed=layout.is_reversed) for one in kernels]
        parts.append(torch.cat(columns, dim=1))
    return torch.cat(parts)


def _twice(kernels: Tensor, ratio: Tensor | float) -> Tensor:
    """Kernels times the ratio's square, which alone might be too large or too small for its precision."""
    return (kernels * ratio) * ratio


def _rows(kernels: Tensor, num_rows: int, positions: list[int], used: list[int], *, is_reversed: bool) -> Tensor:
    """Kernels [B, out, in, k] in rows [E, K], padded to all positions that are used."""
    rows = (kernels.transpose(1, 2) if is_reversed else kernels).reshape(num_rows, -1)
    if positions == used:
        return rows
    columns = torch.tensor([used.index(position) for position in positions], device=rows.device)
    return rows.new_zeros(rows.shape[0], len(used)).index_copy(1, columns, rows)


def _size_ratio(source: Tensor | None, target: Tensor | None) -> Tensor | float:
    """size_j / size_i from the sizes [B, n], as [B, n_i, n_j, 1]; 0 where size_i is 0."""
    ratio: Tensor | float = 1.0
    if target is not None:
        is_zero = target == 0
        ratio = torch.where(is_zero, 0.0, 1.0 / torch.where(is_zero, 1.0, target))[:, :, None, None]
    return ratio if source is None else ratio * source[:, None, :, None]


class NodeEmbedding(nn.Module):
    """Positional embeddings of nodes: each input and each output its own, one for all nodes of a hidden depth.

    Those of hidden nodes multiply, those of input and output nodes are added where
    ``sum_on_io``; with the permutation symmetry alone all are added.
    """

    def __init__(self, config: ScaleGMNConfig) -> None:
        super().__init__()
        self.inputs = nn.Parameter(torch.empty(config.max_inputs, config.width))
        self.hidden = nn.Parameter(torch.empty(config.max_depth, config.width))
        self.outputs = nn.Parameter(torch.empty(config.max_outputs, config.width))
        self.adds_hidden = config.symmetry == "permutation"
        self.adds_io = config.sum_on_io or self.adds_hidden

    def initialize(self, generator: torch.Generator | None) -> None:
        """Draw the initial values: around 1 where they multiply, around 0 where they are added."""
        for table, adds in ((self.inputs, self.adds_io), (self.hidden, self.adds_hidden), (self.outputs, self.adds_io)):
            nn.init.normal_(table, mean=0.0 if adds else 1.0, std=1.0 if adds else 0.3, generator=generator)

    def rows(self, layout: NodeLayout) -> Tensor:
        """The embedding of every node, [N, d]."""
        parts = []
        for segment in layout.segments:
            if segment.role == "hidden":
                parts.append(self.hidden[segment.depth - 1].expand(segment.num_rows, -1))
            else:
                table = self.inputs if segment.role == "input" else self.outputs
                parts.append(table[: segment.size].repeat(segment.batch, 1))
        return torch.cat(parts)

    def forward(self, x: Tensor, rows: Tensor, layout: NodeLayout) -> Tensor:
        """Apply the embeddings ``rows`` to the nodes' features, both [N, d]."""
        parts, adds = [], []
        for segment in layout.segments:
            parts.append(segment.num_rows)
            adds.append(self.adds_hidden if segment.role == "hidden" else self.adds_io)
        if len(set(adds)) == 1:
            return x + rows if adds[0] else x * rows
        pairs = zip(torch.split(x, parts), torch.split(rows, parts), adds, strict=True)
        return torch.cat([part + row if add else part * row for part, row, add in pairs])


class EdgeEmbedding(nn.Module):
    """Positional embeddings of edges: by input for the first layer, by output for the last, by depth between.

    They multiply; with the permutation symmetry alone they are added. In a network of one layer, both apply.
    """

    def __init__(self, config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> None:
        super().__init__()
        self.inputs = nn.Parameter(torch.empty(config.max_inputs, config.width))
        self.hidden = nn.Parameter(torch.empty(max(config.max_depth - 1, 0), config.width))
        self.outputs = nn.Parameter(torch.empty(config.max_outputs, config.width))
        self.adds = config.symmetry == "permutation"
        self.released_output_edges = behaviour.released_output_edges

    def initialize(self, generator: torch.Generator | None) -> None:
        """Draw the initial values: around 1 where they multiply, around 0 where they are added."""
        for table in (self.inputs, self.hidden, self.outputs):
            nn.init.normal_(table, mean=0.0 if self.adds else 1.0, std=0.3, generator=generator)

    def forward(self, x: Tensor, layout: EdgeLayout, buckets: Sequence[Bucket]) -> Tensor:
        """Apply the embeddings to the edges' features [E, d]."""
        parts = []
        for segment, rows in zip(
            layout.segments, torch.split(x, [segment.num_rows for segment in layout.segments]), strict=True
        ):
            shaped = rows.view(segment.batch, segment.num_targets, segment.num_sources, -1)
            for embedding in self._of_segment(segment, layout.is_reversed, buckets[segment.key[0]]):
                shaped = shaped + embedding if self.adds else shaped * embedding
            parts.append(shaped.reshape(segment.num_rows, -1))
        return torch.cat(parts)

    def _of_segment(self, segment: EdgeSegment, is_reversed: bool, bucket: Bucket) -> list[Tensor]:
        """Tables that apply to a segment, each of shape [n_targets or 1, n_sources or 1, d]."""
        block = bucket.spec.blocks[segment.key[1]]
        source, target = (bucket.spec.groups[end] for end in (block.source, block.target))
        tables = []
        if source.role == "input":
            tables.append(self.inputs[: source.size].expand(target.size, -1, -1))
        if target.role == "output":
            tables.append(self._output_rows(target.size, source.size))
        if not tables:
            tables.append(self.hidden[source.depth - 1].expand(target.size, source.size, -1))
        return [table.transpose(0, 1) for table in tables] if is_reversed else tables

    def _output_rows(self, num_outputs: int, num_sources: int) -> Tensor:
        """[n_outputs, n_sources, d]: row i for edges into output i, or the released order."""
        outputs = torch.arange(num_outputs, device=self.outputs.device)
        if len(self.outputs) == 1:
            return self.outputs.expand(num_outputs, num_sources, -1)
        if not self.released_output_edges:
            return self.outputs[outputs][:, None].expand(-1, num_sources, -1)
        sources = torch.arange(num_sources, device=self.outputs.device)
        return self.outputs[(sources[None, :] * num_outputs + outputs[:, None]) // num_sources]
