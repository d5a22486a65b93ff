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
from zoovet.metanets.contents import Sizes, Weights, block_ratio, channel_sizes, gate_numbers
from zoovet.metanets.kernels import fitted_kernels, kernel_positions, used_positions
from zoovet.metanets.layout import Bucket, Chunk, EdgeLayout, EdgeSegment, NodeLayout, of_cells
from zoovet.metanets.structure import StructureBlock
from zoovet.metanets.tables import table_row, table_rows

__all__ = [
    "EdgeEmbedding",
    "EdgeFeatures",
    "NodeEmbedding",
    "edge_rows",
    "node_rows",
]


_GRADIENT_UNIT = 0.2
"""Gradients, whose size is about 1, times this are about as large as weights."""


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
        bias = content.biases[segment.key[1]]
        if bias is None:
            value = input_feature if segment.role == "input" else 0.0
            column = content.like.new_full((segment.num_rows, 1), value)
            column = functional.pad(column, (0, len(content.gradients)))
        else:
            column = bias.reshape(-1, 1)
            for _, biases in content.gradients:
                size, gradient = sizes[segment.key[0]][segment.key[1]], biases[segment.key[1]]
                assert gradient is not None
                scaled = gradient if size is None or segment.role == "output" else gradient * size.square()
                column = torch.cat([column, _GRADIENT_UNIT * scaled.reshape(-1, 1)], dim=1)
        if content.node_features is not None:
            column = torch.cat([column, content.node_features[segment.key[1]].flatten(0, 1)], dim=1)
        parts.append(column)
    return torch.cat(parts)


def edge_rows(
    layout: EdgeLayout,
    buckets: Sequence[Bucket],
    contents: Sequence[Weights],
    max_kernel: tuple[int, int],
    *,
    inverse: bool,
    projection: Tensor | None = None,
) -> Tensor:
    """Kernels in rows, [E, K]; or what a linear map makes of them, [E, d].

    Args:
        layout: Which edges, and in which direction.
        buckets: Whose.
        contents: Their weights.
        max_kernel: (height, width) that kernels are padded to.
        inverse: Multiply the kernel w from j to i with (size_j / size_i)², so that it scales as q_j / q_i instead of
            q_i / q_j. This is the pseudo-inverse w / ‖w‖² times the squared share, at most 1, that the edge has in the
            size of i: finite everywhere, 0 for a zero kernel, and small where the weight is.
        projection: [d, kernels and gradients, positions of the largest kernel], applied block by block, so that the
            rows of small kernels are never as long as those of the largest.

    Returns:
        The rows, for all positions that any kernel uses; then in the same way each gradient, which scales as q_j / q_i,
        and so is multiplied with (size_i / size_j)² where ``inverse`` is not asked for.
    """
    used = used_positions(buckets, max_kernel)
    sizes = [
        channel_sizes(bucket, content, mean=not inverse) if _needs_sizes(bucket, content, inverse=inverse) else None
        for bucket, content in zip(buckets, contents, strict=True)
    ]
    parts = []
    for segment in layout.segments:
        bucket, content = buckets[segment.key[0]], contents[segment.key[0]]
        block = bucket.structure.blocks[segment.key[1]]
        own = sizes[segment.key[0]]
        kernels = _block_numbers(
            content.weights[segment.key[1]], block, own, segment, content.like, max_kernel, inverse
        )
        for weights, _ in content.gradients:
            weight = weights[segment.key[1]]
            assert weight is not None
            gradient = fitted_kernels(weight, max_kernel)
            if not inverse and own is not None:
                ratio = block_ratio(block, own, is_reversed=True)
                gradient = _twice(gradient.transpose(1, 2), ratio).transpose(1, 2)
            kernels.append(_GRADIENT_UNIT * gradient)
        positions = kernel_positions(block.kernel, max_kernel)
        places = used if projection is None else positions
        columns = [_rows(one, segment.num_rows, positions, places, is_reversed=layout.is_reversed) for one in kernels]
        rows = torch.cat(columns, dim=1) if len(columns) > 1 else columns[0]
        parts.append(rows if projection is None else functional.linear(rows, projection[..., positions].flatten(1)))
    return torch.cat(parts)


def _needs_sizes(bucket: Bucket, content: Weights, *, inverse: bool) -> bool:
    return inverse or bool(content.gradients) or any(block.kind == "gate" for block in bucket.structure.blocks)


def _block_numbers(
    weight: Tensor | None,
    block: StructureBlock,
    sizes: Sizes | None,
    segment: EdgeSegment,
    like: Tensor,
    max_kernel: tuple[int, int],
    inverse: bool,
) -> list[Tensor]:
    """A block's numbers, [B · cells, targets, sources, K], along the edges, or such as to go against them."""
    if weight is None:
        found = None
        if block.kind == "gate" and sizes is not None:
            found = gate_numbers(block, sizes, like, inverse=inverse)
        return [like.new_ones(segment.batch, block.num_targets, block.num_sources, 1) if found is None else found]
    kernels = fitted_kernels(weight, max_kernel)
    if inverse and sizes is not None:
        kernels = _twice(kernels, block_ratio(block, sizes)).to(weight.dtype)
    return [kernels]


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


class NodeEmbedding(nn.Module):
    """Positional embeddings of nodes: each input and each output its own, one for all nodes of a hidden depth.

    Those of hidden nodes multiply, those of input and output nodes are added where
    ``sum_on_io``; with the permutation symmetry alone all are added.
    """

    def __init__(self, config: ScaleGMNConfig) -> None:
        super().__init__()
        self.inputs = nn.Parameter(torch.empty(config.max_inputs, config.width))
        self.hidden = nn.Parameter(torch.empty(config.max_depth, config.width))
        self.outputs = nn.Parameter(torch.empty(config.num_output_rows, config.width))
        self.adds_hidden = config.symmetry == "permutation"
        self.adds_io = config.sum_on_io or self.adds_hidden

    def initialize(self, generator: torch.Generator | None) -> None:
        """Draw the initial values: around 1 where they multiply, around 0 where they are added."""
        for table, adds in ((self.inputs, self.adds_io), (self.hidden, self.adds_hidden), (self.outputs, self.adds_io)):
            nn.init.normal_(table, mean=0.0 if adds else 1.0, std=1.0 if adds else 0.3, generator=generator)

    def rows(self, layout: NodeLayout, buckets: Sequence[Bucket]) -> Tensor:
        """The embedding of every node, [N, d]."""
        parts = []
        for segment in layout.segments:
            if segment.role == "hidden":
                num_depths = buckets[segment.key[0]].structure.num_hidden_depths
                parts.append(table_row(self.hidden, segment.depth - 1, num_depths).expand(segment.num_rows, -1))
            else:
                table = self.inputs if segment.role == "input" else self.outputs
                parts.append(table_rows(table, segment.size).repeat(segment.batch, 1))
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
        self.outputs = nn.Parameter(torch.empty(config.num_output_rows, config.width))
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
            shaped = rows.view(-1, segment.cells, segment.num_targets, segment.num_sources, rows.shape[1])
            for embedding in self._of_segment(segment, layout.is_reversed, buckets[segment.key[0]]):
                shaped = shaped + embedding if self.adds else shaped * embedding
            parts.append(shaped.reshape(segment.num_rows, -1))
        return torch.cat(parts)

    def _of_segment(self, segment: EdgeSegment, is_reversed: bool, bucket: Bucket) -> list[Tensor]:
        """Tables that apply to a segment, each of shape [cells or 1, n_targets, n_sources, d]."""
        block, structure = bucket.structure.blocks[segment.key[1]], bucket.structure
        source, target = (structure.groups[end] for end in (block.source, block.target))
        tables = []
        if source.role == "input":
            of_inputs = table_rows(self.inputs, source.size).unsqueeze(0)
            of_sources = of_cells(of_inputs, block.source_index, block.cells)[:, None]
            tables.append(of_sources.expand(-1, block.num_targets, -1, -1))
        if target.role == "output":
            tables.append(self._output_rows(block, target.size))
        if not tables and len(self.hidden):
            row = table_row(self.hidden, source.depth - 1, structure.num_hidden_depths - 1)
            tables.append(row.expand(1, block.num_targets, block.num_sources, -1))
        return [table.transpose(1, 2) for table in tables] if is_reversed else tables

    def _output_rows(self, block: StructureBlock, num_outputs: int) -> Tensor:
        """[cells, n_outputs, n_sources, d]: row i for edges into output i, or the released order."""
        if len(self.outputs) == 1:
            return self.outputs.expand(1, num_outputs, block.num_sources, -1)
        if not self.released_output_edges:
            of_outputs = table_rows(self.outputs, num_outputs).unsqueeze(0)
            of_targets = of_cells(of_outputs, block.target_index, block.cells)[:, :, None]
            return of_targets.expand(-1, -1, block.num_sources, -1)
        outputs = torch.arange(num_outputs, device=self.outputs.device)
        sources = torch.arange(block.num_sources, device=self.outputs.device)
        return self.outputs[(sources[None, :] * num_outputs + outputs[:, None]) // block.num_sources].unsqueeze(0)
