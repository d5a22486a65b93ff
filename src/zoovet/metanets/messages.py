"""Message passing on dense layered graphs: messages along or against the edges, updates of edges.

The graph is implicit: the edges of a block, seen as [B, targets, sources, d], meet their nodes by broadcasting, and
messages are summed over the sources' axis. Edges are worked on in chunks that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.equivariant import (
    EquivariantLayer,
    IoMlps,
    branch_of,
    branches_of,
    canonical_linear,
    canonical_norm,
    squared_norm,
)
from zoovet.metanets.features import EdgeFeatures
from zoovet.metanets.fused import ends_linear
from zoovet.metanets.layout import Chunk, EdgeSegment, NodeKey, NodeLayout, NodeSegment, Piece, of_cells
from zoovet.metanets.mlp import MLP, Linear
from zoovet.metanets.plan import DirectionPlan
from zoovet.metanets.reciprocal_norm import reciprocal_norm

__all__ = ["EdgeUpdate", "Messages", "PlainEdgeUpdate", "PlainMessages"]

Sums = dict[NodeKey, Tensor]
"""Per receiving group, [B · n, features]."""


class Messages(nn.Module):
    """Equivariant messages m_ij = message((W_v x_j) ⊙ (W_e e_ij)), summed over the sources j."""

    def __init__(self, config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> None:
        super().__init__()
        width = config.width
        self.w_v = Linear(width, width, bias=False)
        self.w_e = Linear(width, width, bias=False)
        io = IoMlps(replaces_layer=config.mlp_on_io, num_mlps=config.num_message_mlps)
        extra_width = width if config.message_embedding else 0
        self.layer = EquivariantLayer(width, extra_width, width, io, config, behaviour)
        self.embeds = config.message_embedding
        self.embeds_source = config.is_bidirectional

    def forward(
        self,
        x: Tensor,
        edges: EdgeFeatures,
        embedding: Tensor | None,
        nodes: NodeLayout,
        plan: DirectionPlan,
        new_nodes: NodeLayout,
    ) -> Tensor:
        """Sums of messages.

        Args:
            x: [N, d].
            edges: [E, d].
            embedding: [N, d], positional embeddings of the nodes, where messages use them.
            nodes: Layout of ``x``.
            plan: Which edges have messages.
            new_nodes: Nodes to sum for.

        Returns:
            [N', d]; 0 where no edge leads to a node.
        """
        values = split_nodes(self.w_v(x), nodes)
        weight = edges.fold(self.w_e.weight)
        extras = self._extras(embedding, nodes, plan) if self.embeds and embedding is not None else {}
        sums: dict[NodeKey, list[Tensor]] = {}
        for chunk, rows in edges.by_chunk(plan.messages):
            extra = None
            if self.embeds:
                extra = spread(extras[chunk.label], chunk.pieces, from_source=self.embeds_source)
            sources = [_of_source(values, piece) for piece in chunk.pieces]
            messages = self.layer.product_rows(F.linear(rows, weight), sources, chunk.shapes, chunk.label, extra)
            add_to_sums(sums, messages, chunk.pieces)
        return gather_sums(sums, new_nodes, plan, self.layer.finish, x)

    def _extras(self, embedding: Tensor, nodes: NodeLayout, plan: DirectionPlan) -> dict[str, Sums]:
        labels = {chunk.label for chunk in plan.messages}
        return {label: split_nodes(self.layer.embed(embedding, label), nodes) for label in labels}


class PlainMessages(nn.Module):
    """Messages for the permutation symmetry alone: an MLP of [e_ij, x_j], summed over the sources j."""

    def __init__(self, config: ScaleGMNConfig) -> None:
        super().__init__()
        self.mlp = MLP(2 * config.width, config.width, config)

    def forward(
        self,
        x: Tensor,
        edges: EdgeFeatures,
        embedding: Tensor | None,
        nodes: NodeLayout,
        plan: DirectionPlan,
        new_nodes: NodeLayout,
    ) -> Tensor:
        """As for :class:`Messages`; the embedding has no effect."""
        of_edge, of_source = self.mlp.first.weight.chunk(2, dim=1)
        sources = split_nodes(F.linear(x, of_source), nodes)
        weight = edges.fold(of_edge)
        sums: dict[NodeKey, list[Tensor]] = {}
        for chunk, rows in edges.by_chunk(plan.messages):
            before = add_ends(F.linear(rows, weight), sources, None, chunk.pieces)
            add_to_sums(sums, self.mlp.activate(before, None, self.mlp.shift()), chunk.pieces)
        return gather_sums(sums, new_nodes, plan, lambda rows, counts, _: self.mlp.finish(rows, counts), x)


class EdgeUpdate(nn.Module):
    """e_ij' = (Γ e_ij) ⊙ φ([canon(x_j), canon(x_i)]): one canonicalization for both ends, none of φ's own."""

    def __init__(self, out_width: int, config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> None:
        super().__init__()
        width = config.width
        self.gamma = Linear(width, out_width, bias=False)
        self.phi = MLP(2 * width, out_width, config, bias_value=1.0)
        symmetrizes = config.symmetrize and "sign" in branches_of(config, behaviour)
        self.rho = MLP(width, width, config) if symmetrizes else None
        self.is_mixed = config.symmetry == "mixed"
        self.norm_constant = behaviour.norm_constant
        self.numerator = canonical_norm(width, behaviour)

    def forward(
        self, x: Tensor, edges: EdgeFeatures, nodes: NodeLayout, plan: DirectionPlan, columns: Tensor | None = None
    ) -> EdgeFeatures:
        """New features of the edges that are needed further on.

        Args:
            x: [N, d], the old nodes.
            edges: [E, d], the old edges.
            nodes: Layout of ``x``.
            plan: Which edges to update.
            columns: Compute only these output features; ``None`` for all.

        Returns:
            [E', out].
        """
        of_source, of_target = self.phi.first.weight.chunk(2, dim=1)
        sources = split_nodes(self._canonical(x, nodes, of_source, None), nodes)
        targets = split_nodes(self._canonical(x, nodes, of_target, self.phi.first.bias), nodes)
        gamma, last, bias = _only(columns, self.gamma.weight, self.phi.last.weight, self.phi.last.bias)
        weight = edges.fold(gamma)
        parts = []
        for chunk, rows in edges.by_chunk(plan.updates):
            factor = self._factor(sources, targets, chunk, last, bias)
            parts.append(F.linear(rows, weight) * factor)
        return EdgeFeatures(tuple(parts))

    def _factor(self, sources: Sums, targets: Sums, chunk: Chunk, last: Tensor, bias: Tensor) -> Tensor:
        """φ of both ends' canonicalized features, [R, out], from what each contributes to φ's first linear map."""
        of_sources = [_of_source(sources, piece) for piece in chunk.pieces]
        of_targets = [_of_target(targets, piece) for piece in chunk.pieces]
        return ends_linear(of_sources, of_targets, chunk.shapes, self.phi.norm_parameters, last, bias)

    def _canonical(self, x: Tensor, nodes: NodeLayout, weight: Tensor, bias: Tensor | None) -> Tensor:
        runs = nodes.symmetry_runs
        parts = [
            canonical_linear(
                rows,
                weight,
                bias,
                branch_of(run.label),
                self.rho if branch_of(run.label) == "sign" else None,
                self._scale(rows) if run.label in ("scale", "nonzero") else None,
            )
            for run, rows in zip(runs, torch.split(x, [run.stop - run.start for run in runs]), strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _scale(self, x: Tensor) -> Tensor:
        return reciprocal_norm(squared_norm(x), self.norm_constant, self.numerator)


class PlainEdgeUpdate(nn.Module):
    """Edge update for the permutation symmetry alone: an MLP of [e_ij, x_j, x_i]."""

    def __init__(self, out_width: int, config: ScaleGMNConfig) -> None:
        super().__init__()
        self.mlp = MLP(3 * config.width, out_width, config)

    def forward(
        self, x: Tensor, edges: EdgeFeatures, nodes: NodeLayout, plan: DirectionPlan, columns: Tensor | None = None
    ) -> EdgeFeatures:
        """As for :class:`EdgeUpdate`."""
        of_edge, of_source, of_target = self.mlp.first.weight.chunk(3, dim=1)
        sources = split_nodes(F.linear(x, of_source), nodes)
        targets = split_nodes(F.linear(x, of_target), nodes)
        last, bias = _only(columns, self.mlp.last.weight, self.mlp.last.bias)
        weight = edges.fold(of_edge)
        parts = []
        for chunk, rows in edges.by_chunk(plan.updates):
            before = add_ends(F.linear(rows, weight), sources, targets, chunk.pieces)
            parts.append(self.mlp.activate(before, None, self.mlp.shift(), last, bias))
        return EdgeFeatures(tuple(parts))


def _only(columns: Tensor | None, *parameters: Tensor | None) -> list[Tensor]:
    """The rows of the parameters that make these output features; all of them for ``None``."""
    given = [parameter for parameter in parameters if parameter is not None]
    return given if columns is None else [parameter[columns] for parameter in given]


def split_nodes(x: Tensor, layout: NodeLayout) -> Sums:
    """Node rows [N, k] by group, each as [B, n, k]."""
    parts = torch.split(x, [segment.num_rows for segment in layout.segments])
    return {
        segment.key: part.view(segment.batch, segment.size, -1)
        for segment, part in zip(layout.segments, parts, strict=True)
    }


def _of_source(values: Sums, piece: Piece) -> Tensor:
    """[b, sources, k] of a piece."""
    segment = piece.segment
    of_block = of_cells(values[segment.source], segment.source_index, segment.cells)
    return of_block.narrow(0, piece.batch_start, piece.batch)


def _of_target(values: Sums, piece: Piece) -> Tensor:
    """[b, targets, k] of a piece."""
    segment = piece.segment
    of_block = of_cells(values[segment.target], segment.target_index, segment.cells)
    return of_block.narrow(0, piece.batch_start, piece.batch).narrow(1, piece.target_start, piece.num_targets)


def _by_piece(rows: Tensor, pieces: Sequence[Piece]) -> list[Tensor]:
    """Rows [R, k] of a chunk by piece, each as [b, targets, sources, k]."""
    parts = torch.split(rows, [piece.num_rows for piece in pieces]) if len(pieces) > 1 else [rows]
    return [
        part.view(piece.batch, piece.num_targets, piece.segment.num_sources, -1)
        for piece, part in zip(pieces, parts, strict=True)
    ]


def add_ends(rows: Tensor, sources: Sums, targets: Sums | None, pieces: Sequence[Piece]) -> Tensor:
    """Edge rows [R, k] plus the values of their sources, plus those of their targets where given."""
    parts = []
    for piece, total in zip(pieces, _by_piece(rows, pieces), strict=True):
        total = total + _of_source(sources, piece).unsqueeze(1)
        total = total if targets is None else total + _of_target(targets, piece).unsqueeze(2)
        parts.append(total.flatten(0, 2))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def spread(values: Sums, pieces: Sequence[Piece], *, from_source: bool) -> Tensor:
    """The values of the edges' sources, or of their targets, in edge rows [R, k]."""
    parts = []
    for piece in pieces:
        shape = (piece.batch, piece.num_targets, piece.segment.num_sources, -1)
        of_node = _of_source(values, piece).unsqueeze(1) if from_source else _of_target(values, piece).unsqueeze(2)
        parts.append(of_node.expand(shape).flatten(0, 2))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _at_nodes(rows: Tensor, segment: EdgeSegment, nodes: NodeSegment) -> tuple[Tensor, Tensor]:
    """Sums at some of a group's nodes, in a block's order, as sums at all of them, and how many edges lead to each."""
    assert segment.target_index is not None
    index = segment.target_index.to(rows.device)
    counts = rows.new_zeros(nodes.size).index_add(0, index, rows.new_full(index.shape, segment.num_sources))
    totals = rows.new_zeros(nodes.batch, nodes.size, rows.shape[1])
    totals = totals.index_add(1, index, rows.view(nodes.batch, len(index), -1))
    return totals.flatten(0, 1), counts.repeat(nodes.batch).unsqueeze(1)


def add_to_sums(sums: dict[NodeKey, list[Tensor]], rows: Tensor, pieces: Sequence[Piece]) -> None:
    """Sum edge rows [R, k] over their sources and note the sums by receiving group, block and piece."""
    for piece, part in zip(pieces, _by_piece(rows, pieces), strict=True):
        sums.setdefault(piece.segment.key, []).append(part.sum(2).flatten(0, 1))


def gather_sums(
    sums: dict[tuple[int, int], list[Tensor]],
    new_nodes: NodeLayout,
    plan: DirectionPlan,
    finish: Callable[[Tensor, Tensor | None, str], Tensor],
    like: Tensor,
) -> Tensor:
    """Sums by block and piece to rows of the receiving nodes, [N', d]; 0 where no edge leads."""
    by_target: Sums = {}
    num_sources: dict[NodeKey, Tensor] = {}
    for segment in plan.edges.segments:
        if segment.key not in sums:
            continue
        parts = sums[segment.key]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts)
        counts = rows.new_full((1, 1), segment.num_sources)
        if segment.target_index is not None:
            rows, counts = _at_nodes(rows, segment, new_nodes.by_key[segment.target])
        by_target[segment.target] = by_target[segment.target] + rows if segment.target in by_target else rows
        num_sources[segment.target] = num_sources[segment.target] + counts if segment.target in num_sources else counts
    results = []
    for run in new_nodes.class_runs:
        members = [segment for segment in new_nodes.segments if run.start <= segment.start < run.stop]
        received = [by_target[segment.key] for segment in members if segment.key in by_target]
        if not received:
            results.append(like.new_zeros(run.stop - run.start, like.shape[1]))
            continue
        blank = [like.new_zeros(segment.num_rows, received[0].shape[1]) for segment in members]
        rows = torch.cat([by_target.get(segment.key, zeros) for segment, zeros in zip(members, blank, strict=True)])
        none = like.new_zeros(1, 1)
        counts = torch.cat([num_sources.get(segment.key, none).expand(segment.num_rows, 1) for segment in members])
        results.append(finish(rows, counts, run.label))
    return torch.cat(results)
