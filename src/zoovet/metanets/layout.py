"""Where the nodes and edges of a batch of networks lie in memory, and which of them a round of message passing needs.

Networks of any structures share two kinds of matrices: node rows [N, features] and edge rows [E, features]. The nodes
of a group of B networks are one *segment* of B · n consecutive rows (network, channel); the edges of a block are one
segment of B · n_targets · n_sources rows (network, target, source), where each of its cells counts as a network of its
own. A linear map then runs over the rows of all networks at once, and a segment, viewed as [B, n, features] or
[B, n_targets, n_sources, features], needs broadcasting and sums only. Segments that are treated alike lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Literal, TypeVar

from torch import Tensor

from zoovet.metanets.structure import Structure
from zoovet.symmetry import Symmetry

__all__ = [
    "Bucket",
    "Chunk",
    "EdgeLayout",
    "EdgeSegment",
    "NodeKey",
    "NodeLayout",
    "NodeSegment",
    "Piece",
    "Run",
    "node_class",
    "of_cells",
]

NodeKey = tuple[int, int]
"""(bucket, group): which nodes."""
NodeClass = Literal["input", "output", "nonzero", "scale", "sign", "permutation"]
"""How messages to a node and updates of it are computed: its role, or a hidden node's symmetry."""
_ORDER = ("nonzero", "scale", "sign", "permutation", "input", "output")
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Bucket:
    """Networks of one structure and one symmetry.

    Attributes:
        structure: What they are.
        size: Their number B.
        symmetries: How the hidden nodes of each group are treated; ``fixed`` for the input and the output group.
        io_symmetry: How input and output nodes are treated where they count as hidden ones (edge updates).
    """

    structure: Structure
    size: int
    symmetries: tuple[Symmetry, ...]
    io_symmetry: Symmetry


@dataclass(frozen=True)
class NodeSegment:
    """The nodes of one group of one bucket: rows ``start`` to ``stop``, network by network.

    Attributes:
        key: Which nodes.
        role: ``input``, ``hidden`` or ``output``.
        depth: Position of the group from the input.
        batch: Number of networks.
        size: Nodes of a network.
        symmetry: For canonicalization where all nodes count as hidden ones.
        node_class: For messages and updates.
        start: First row.
    """

    key: NodeKey
    role: Literal["input", "hidden", "output"]
    depth: int
    batch: int
    size: int
    symmetry: Symmetry
    node_class: NodeClass
    start: int

    @property
    def num_rows(self) -> int:
        """Rows of the segment."""
        return self.batch * self.size


@dataclass(frozen=True)
class Run:
    """Consecutive rows that are treated alike."""

    label: str
    start: int
    stop: int


@dataclass(frozen=True)
class NodeLayout:
    """The nodes that are alive after a round, in the order of their rows."""

    segments: tuple[NodeSegment, ...]

    @classmethod
    def build(cls, buckets: Sequence[Bucket], keys: Iterable[NodeKey]) -> NodeLayout:
        """Lay out these nodes of these buckets."""
        described = [(key, buckets[key[0]]) for key in keys]
        described.sort(key=lambda item: _node_order(*item))
        segments, start = [], 0
        for key, bucket in described:
            group = bucket.structure.groups[key[1]]
            segment = NodeSegment(
                key=key,
                role=group.role,
                depth=group.depth,
                batch=bucket.size,
                size=group.size,
                symmetry=_canonical_symmetry(key, bucket),
                node_class=node_class(key, bucket),
                start=start,
            )
            segments.append(segment)
            start += segment.num_rows
        return cls(tuple(segments))

    @cached_property
    def by_key(self) -> dict[NodeKey, NodeSegment]:
        """Every segment by its key."""
        return {segment.key: segment for segment in self.segments}

    @property
    def num_rows(self) -> int:
        """Rows of all segments."""
        return sum(segment.num_rows for segment in self.segments)

    @cached_property
    def class_runs(self) -> tuple[Run, ...]:
        """Consecutive rows whose updates are computed alike."""
        return _runs(self.segments, lambda segment: segment.node_class)

    @cached_property
    def symmetry_runs(self) -> tuple[Run, ...]:
        """Consecutive rows that are canonicalized alike where all nodes count as hidden ones."""
        return _runs(self.segments, lambda segment: segment.symmetry)

    def rows_in(self, larger: NodeLayout) -> tuple[tuple[int, int], ...]:
        """(start, stop) of this layout's rows within those of a layout with more nodes, merged where they touch."""
        ranges: list[tuple[int, int]] = []
        for segment in self.segments:
            start = larger.by_key[segment.key].start
            if ranges and ranges[-1][1] == start:
                ranges[-1] = (ranges[-1][0], start + segment.num_rows)
            else:
                ranges.append((start, start + segment.num_rows))
        return tuple(ranges)


@dataclass(frozen=True)
class EdgeSegment:
    """The edges of one block of one bucket, from source to target in the direction in which messages run.

    Attributes:
        key: (bucket, block).
        target, source: Nodes that receive and that send.
        batch: Number of networks times the block's cells: each cell counts as a network of its own.
        num_targets, num_sources: Nodes of one cell.
        label: Class of the receiving nodes.
        start: First row.
        cells: The block's cells.
        source_index, target_index: Which nodes of their groups, in the block's order; ``None`` for all in theirs.
    """

    key: tuple[int, int]
    target: NodeKey
    source: NodeKey
    batch: int
    num_targets: int
    num_sources: int
    label: NodeClass
    start: int
    cells: int = 1
    source_index: Tensor | None = field(default=None, compare=False)
    target_index: Tensor | None = field(default=None, compare=False)

    @property
    def num_rows(self) -> int:
        """Rows of the segment."""
        return self.batch * self.num_targets * self.num_sources


@dataclass(frozen=True)
class Piece:
    """Edges of a segment from network ``batch_start`` on, of a single network from target ``target_start`` on.

    ``offset`` is its first row, counted from that of its chunk. Either whole networks or some targets of one.
    """

    segment: EdgeSegment
    batch_start: int
    batch: int
    target_start: int
    num_targets: int
    offset: int

    @property
    def num_rows(self) -> int:
        """Rows of the piece."""
        return self.batch * self.num_targets * self.segment.num_sources


@dataclass(frozen=True)
class Chunk:
    """Consecutive edge rows that are worked on together, small enough for the processor's cache."""

    label: str
    start: int
    num_rows: int
    pieces: tuple[Piece, ...]

    @cached_property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(networks, targets, sources) of each piece."""
        return tuple((piece.batch, piece.num_targets, piece.segment.num_sources) for piece in self.pieces)


@dataclass(frozen=True)
class EdgeLayout:
    """The edges that are alive after a round, in the order of their rows, for messages in one direction."""

    segments: tuple[EdgeSegment, ...]
    is_reversed: bool

    @classmethod
    def build(cls, buckets: Sequence[Bucket], keys: Iterable[tuple[int, int]], is_reversed: bool) -> EdgeLayout:
        """Lay out the edges of these blocks of these buckets, for messages along or (``is_reversed``) against them."""
        described = []
        for key in keys:
            bucket = buckets[key[0]]
            block = bucket.structure.blocks[key[1]]
            ends = (block.target, block.source) if is_reversed else (block.source, block.target)
            source, target = ((key[0], group) for group in ends)
            described.append((_node_order(target, bucket), key, source, target))
        segments, start = [], 0
        for _, key, source, target in sorted(described):
            bucket = buckets[key[0]]
            block = bucket.structure.blocks[key[1]]
            sizes, indices = (block.num_sources, block.num_targets), (block.source_index, block.target_index)
            (num_sources, num_targets) = sizes[::-1] if is_reversed else sizes
            (source_index, target_index) = indices[::-1] if is_reversed else indices
            segment = EdgeSegment(
                key=key,
                target=target,
                source=source,
                batch=bucket.size * block.cells,
                num_targets=num_targets,
                num_sources=num_sources,
                label=node_class(target, bucket),
                start=start,
                cells=block.cells,
                source_index=source_index,
                target_index=target_index,
            )
            segments.append(segment)
            start += segment.num_rows
        return cls(tuple(segments), is_reversed)

    @property
    def num_rows(self) -> int:
        """Rows of all segments."""
        return sum(segment.num_rows for segment in self.segments)

    @cached_property
    def by_key(self) -> dict[tuple[int, int], EdgeSegment]:
        """Every segment by its key."""
        return {segment.key: segment for segment in self.segments}

    def chunks(self, keys: Iterable[tuple[int, int]], max_rows: int) -> tuple[Chunk, ...]:
        """Cut the segments with these keys into chunks of edges into nodes of one class.

        Args:
            keys: Which segments.
            max_rows: Rows of a chunk; more only where the edges into one single node are more.

        Returns:
            The chunks in the order of their rows.
        """
        wanted = set(keys)
        chunks: list[Chunk] = []
        pieces: list[Piece] = []
        start = num_rows = 0
        label = ""
        for segment, offset, batch_start, batch, target_start, num_targets in self._parts(wanted, max_rows):
            rows = batch * num_targets * segment.num_sources
            fits = start + num_rows == offset and num_rows + rows <= max_rows
            if pieces and not (fits and label == segment.label):
                chunks.append(Chunk(label, start, num_rows, tuple(pieces)))
                pieces = []
            if not pieces:
                start, num_rows, label = offset, 0, segment.label
            pieces.append(Piece(segment, batch_start, batch, target_start, num_targets, num_rows))
            num_rows += rows
        if pieces:
            chunks.append(Chunk(label, start, num_rows, tuple(pieces)))
        return tuple(chunks)

    def _parts(
        self, wanted: set[tuple[int, int]], max_rows: int
    ) -> Iterator[tuple[EdgeSegment, int, int, int, int, int]]:
        for segment in self.segments:
            if segment.key not in wanted:
                continue
            rows_of_network = segment.num_targets * segment.num_sources
            if rows_of_network <= max_rows:
                for first, batch in _cut(segment.batch, max_rows // max(rows_of_network, 1)):
                    yield segment, segment.start + first * rows_of_network, first, batch, 0, segment.num_targets
                continue
            for network in range(segment.batch):
                row = segment.start + network * rows_of_network
                for first, count in _cut(segment.num_targets, max(1, max_rows // segment.num_sources)):
                    yield segment, row + first * segment.num_sources, network, 1, first, count


def of_cells(values: Tensor, index: Tensor | None, cells: int) -> Tensor:
    """Values of a group's nodes [B, n, …] as a block sees them, each cell a network of its own: [B · cells, m, …]."""
    if index is not None:
        values = values[:, index.to(values.device)]
    return values if cells == 1 else values.reshape(values.shape[0] * cells, -1, *values.shape[2:])


def node_class(key: NodeKey, bucket: Bucket) -> NodeClass:
    """How messages to these nodes and updates of them are computed."""
    role = bucket.structure.groups[key[1]].role
    if role != "hidden":
        return role
    symmetry = bucket.symmetries[key[1]]
    assert symmetry != "fixed"  # hidden groups are never fixed
    return symmetry


def _canonical_symmetry(key: NodeKey, bucket: Bucket) -> Symmetry:
    return bucket.symmetries[key[1]] if bucket.structure.groups[key[1]].role == "hidden" else bucket.io_symmetry


def _node_order(key: NodeKey, bucket: Bucket) -> tuple[int, int, int, NodeKey]:
    """Sort key: nodes that are canonicalized alike side by side, within them those that are updated alike."""
    group = bucket.structure.groups[key[1]]
    symmetry = _ORDER.index(_canonical_symmetry(key, bucket))
    return (symmetry, _ORDER.index(node_class(key, bucket)), -group.depth, key)


def _cut(length: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, length) of nearly equal parts of at most ``size``."""
    num_parts = -(-length // size)
    for part in range(num_parts):
        start, stop = part * length // num_parts, (part + 1) * length // num_parts
        yield start, stop - start


def _runs(segments: Sequence[NodeSegment], label: Callable[[NodeSegment], str]) -> tuple[Run, ...]:
    runs = []
    for name, members in groupby(segments, key=label):
        listed = list(members)
        runs.append(Run(name, listed[0].start, listed[-1].start + listed[-1].num_rows))
    return tuple(runs)
