"""One round of message passing: messages in each direction, then nodes and edges replaced together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.equivariant import EquivariantLayer, IoMlps
from zoovet.metanets.features import EdgeFeatures
from zoovet.metanets.layout import NodeLayout
from zoovet.metanets.messages import EdgeUpdate, Messages, PlainEdgeUpdate, PlainMessages
from zoovet.metanets.mlp import MLP, Linear
from zoovet.metanets.plan import RoundPlan

__all__ = ["Round", "RoundShape"]


class RoundShape:
    """What differs between the rounds of one model.

    Args:
        config: The model's configuration.
        behaviour: The model's deviations from the mathematics.
        index: Which round, from 0.
    """

    def __init__(self, config: ScaleGMNConfig, behaviour: ReleasedBehaviour, index: int) -> None:
        is_last = index == config.num_layers - 1
        writes_weights = is_last and config.output == "weights"
        one_number = behaviour.one_number_per_edge
        kernel = 1 if one_number else config.max_kernel[0] * config.max_kernel[1]
        self.node_width = 1 if writes_weights else config.width
        self.edge_width = kernel if writes_weights else config.width
        self.has_skip = config.skip_connections and not writes_weights
        self.updates_edges = not is_last or writes_weights
        self.updates_backward_edges = not is_last and updates_backward_edges(config, behaviour)


def updates_backward_edges(config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> bool:
    """Whether edges of the backward direction are updated: always, but in released models only in scale models."""
    return config.is_bidirectional and (not behaviour.forward_edges_backward or config.symmetry == "scale")


class Round(nn.Module):
    """One round. All of it reads the nodes and edges from before it.

    Attributes:
        messages: One module a direction.
        update: Of the nodes, from [x, a] or [x, a_forward, a_backward].
        skip: Linear map of the old nodes that is added to the new ones, or ``None``.
        edge_updates: One module a direction, as far as its edges are updated.
    """

    def __init__(self, config: ScaleGMNConfig, behaviour: ReleasedBehaviour, index: int) -> None:
        super().__init__()
        shape = RoundShape(config, behaviour, index)
        width = config.width
        num_directions = 2 if config.is_bidirectional else 1
        in_width = (1 + num_directions) * width
        self.is_plain = config.symmetry == "permutation"
        self.embeds = config.update_embedding and not self.is_plain
        self.dropout = nn.Dropout(config.dropout)
        self.messages = nn.ModuleList(
            PlainMessages(config) if self.is_plain else Messages(config, behaviour) for _ in range(num_directions)
        )
        gain = math.sqrt(0.5) if shape.has_skip else 1.0
        io = IoMlps(replaces_layer=config.mlp_on_io, num_mlps=config.num_update_mlps, gain=gain)
        extra_width = width if self.embeds else 0
        self.update = (
            MLP(in_width, shape.node_width, config)
            if self.is_plain
            else EquivariantLayer(in_width, extra_width, shape.node_width, io, config, behaviour)
        )
        self.skip = Linear(width, width, bias=False, gain=gain) if shape.has_skip else None
        num_updates = int(shape.updates_edges) + int(shape.updates_backward_edges)
        self.edge_updates = nn.ModuleList(
            self._edge_update(shape.edge_width, config, behaviour) for _ in range(num_updates)
        )

    def _edge_update(self, out_width: int, config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> nn.Module:
        return PlainEdgeUpdate(out_width, config) if self.is_plain else EdgeUpdate(out_width, config, behaviour)

    def forward(
        self,
        x: Tensor,
        edges: Sequence[EdgeFeatures],
        embedding: Tensor | None,
        plan: RoundPlan,
        columns: Tensor | None,
    ) -> tuple[Tensor, list[EdgeFeatures]]:
        """New nodes and edges.

        Args:
            x: [N, d], old nodes.
            edges: Per direction, old edges.
            embedding: [N, d], positional embeddings of the nodes, where messages or updates use them.
            plan: What to compute.
            columns: Output features of the edge update to compute; ``None`` for all.

        Returns:
            New nodes [N', out] and new edges per direction.
        """
        received = [
            messages(x, edge, embedding, plan.nodes, direction, plan.new_nodes)
            for messages, edge, direction in zip(self.messages, edges, plan.directions, strict=True)
        ]
        old = _select(x, plan.nodes, plan.new_nodes)
        new = self._update(torch.cat([old, *received], dim=1), embedding, plan)
        if self.skip is not None:
            new = new + self.skip(old)
        new = self.dropout(new)
        new_edges = list(edges)
        for index, update in enumerate(self.edge_updates):
            if plan.directions[index].updates:
                new_edges[index] = update(x, edges[index], plan.nodes, plan.directions[index], columns)
        return new, new_edges

    def _update(self, x: Tensor, embedding: Tensor | None, plan: RoundPlan) -> Tensor:
        if isinstance(self.update, MLP):
            output: Tensor = self.update(x)
            return output
        runs = plan.new_nodes.class_runs
        sizes = [run.stop - run.start for run in runs]
        extras: Sequence[Tensor | None] = [None] * len(runs)
        if self.embeds and embedding is not None:
            own = torch.split(_select(embedding, plan.nodes, plan.new_nodes), sizes)
            extras = [self.update.embed(part, run.label) for part, run in zip(own, runs, strict=True)]
        parts = [
            self.update(part, run.label, extra)
            for part, run, extra in zip(torch.split(x, sizes), runs, extras, strict=True)
        ]
        return torch.cat(parts)


def _select(x: Tensor, layout: NodeLayout, smaller: NodeLayout) -> Tensor:
    """The rows of ``x`` [N, d] that belong to the nodes of a smaller layout."""
    ranges = smaller.rows_in(layout)
    if ranges == ((0, x.shape[0]),):
        return x
    parts = [x[start:stop] for start, stop in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
