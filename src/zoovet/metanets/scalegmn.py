"""ScaleGMN: a metanetwork that respects the permutations and scalars that leave a network's function alone.

Source: Kalogeropoulos, Bouritsas and Panagakis 2024, *Scale Equivariant Graph Metanetworks*.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.evidence.evidence import Evidence
from zoovet.metanets.batching import Batch, NodeFeatures, listed, read_batch
from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.evidence_numbers import require_evidence
from zoovet.metanets.features import (
    EdgeEmbedding,
    EdgeFeatures,
    NodeEmbedding,
    edge_rows,
    node_rows,
)
from zoovet.metanets.graph_numbers import graph_changes
from zoovet.metanets.kernels import used_positions
from zoovet.metanets.mlp import Linear
from zoovet.metanets.plan import Plan, PlanOptions, plan_rounds
from zoovet.metanets.probes import Probes
from zoovet.metanets.readout import (
    DeepSetsReadout,
    FullGraphReadout,
    LastLayerReadout,
    PooledOutputsReadout,
    SlotLinear,
)
from zoovet.metanets.rounds import Round, updates_backward_edges
from zoovet.metanets.weight_head import WeightHead
from zoovet.networks.batch import Networks

__all__ = ["ReleasedBehaviour", "ScaleGMN", "ScaleGMNConfig"]

MAX_ROWS = 4096
"""Edge rows worked on at once."""


class ScaleGMN(nn.Module):
    """A metanetwork on networks of any graphs, mixed in one call.

    Args:
        config: Its configuration.
        generator: Source of the initial parameters; ``None`` for torch's own.
        behaviour: Deviations from the mathematics, for released checkpoints only.
    """

    def __init__(
        self,
        config: ScaleGMNConfig,
        generator: torch.Generator | None = None,
        behaviour: ReleasedBehaviour | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.behaviour = behaviour or ReleasedBehaviour()
        width = config.width
        kernel_numbers = config.max_kernel[0] * config.max_kernel[1]
        shape = config.input_shape
        if shape is None and (config.num_probes or config.inversion):
            raise ZoovetError("probes and inversion need to know what networks read; set input_shape")
        self.probes = Probes(config.num_probes, shape) if config.num_probes and shape else None
        num_evidence, num_gradients = 0, 0
        if config.inversion is not None:
            num_site_numbers = config.inversion.num_site_numbers(config.num_output_rows)
            num_evidence = num_site_numbers + config.inversion.num_class_numbers
            num_gradients = config.inversion.num_gradients
        num_features = 1 + num_gradients + config.num_node_features + config.num_probes + num_evidence
        self.project_nodes = Linear(num_features, width, bias=False)
        self.project_edges = Linear(kernel_numbers * (1 + num_gradients), width, bias=False)
        has_own_backward = config.is_bidirectional and not self.behaviour.forward_edges_backward
        self.project_backward_edges = (
            Linear(kernel_numbers * (1 + num_gradients), width, bias=False) if has_own_backward else None
        )
        self.node_embedding = NodeEmbedding(config)
        self.edge_embedding = EdgeEmbedding(config, self.behaviour) if config.edge_embedding else None
        self.rounds = nn.ModuleList(Round(config, self.behaviour, index) for index in range(config.num_layers))
        self.readout = self._make_readout() if config.output == "graph" else None
        self.weight_head = WeightHead(config, self.behaviour) if config.output == "weights" else None
        self.initialize(generator)

    def _make_readout(self) -> nn.Module:
        if self.config.readout == "last_layer":
            return LastLayerReadout(self.config)
        if self.config.readout == "pooled_outputs":
            return PooledOutputsReadout(self.config)
        if self.config.symmetry == "permutation":
            return DeepSetsReadout(self.config)
        return FullGraphReadout(self.config, self.behaviour)

    def initialize(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, so that features stay of the size of the networks' own sizes through the rounds."""
        for module in self.modules():
            if isinstance(module, Linear | SlotLinear | NodeEmbedding | EdgeEmbedding | WeightHead | Probes):
                module.initialize(generator)
        for projection in (self.project_edges, self.project_backward_edges):
            if projection is not None:
                nn.init.normal_(projection.weight, generator=generator)

    def forward(
        self,
        networks: Networks | Sequence[Networks],
        activations: Sequence[str] | None = None,
        *,
        node_features: NodeFeatures | None = None,
        evidence: Evidence | Sequence[Evidence] | None = None,
    ) -> Tensor | Networks | list[Networks]:
        """Read networks.

        Args:
            networks: Networks of one graph, or a list of such of any.
            activations: Treat each network as having this activation instead of its graph's; one a network, in order.
            node_features: Per channel group (of a graph: per group of its :func:`~zoovet.metanets.graph_structure.\
                graph_structure`) [B, n, num_node_features], which must move and scale with the channels
                (those of the output nodes must be invariant); a list of such for a list of networks.
            evidence: What an :class:`~zoovet.evidence.Inversion` of this configuration found in the networks; a
                list of such for a list of networks.

        Returns:
            ``output="graph"``: [networks, num_outputs], in the order given. ``output="weights"``: the changes of their
            weights and biases, as the networks came: ``Networks`` or a list of them. What is no
            weight, as a batch norm's statistics, has the change 0.

        Raises:
            ZoovetError: The networks do not fit the configuration, or a weight is NaN or infinite.
        """
        if self.readout is None:
            changes = self.changes(networks, activations, node_features=node_features, evidence=evidence)
            edited: list[Networks] = [
                graph_changes(part.graph, weights, biases)
                for part, (weights, biases) in zip(listed(networks), changes, strict=True)
            ]
            return edited[0] if isinstance(networks, Networks) else edited
        batch = self._read(networks, activations, node_features, evidence)
        plan = plan_rounds(batch.buckets, self._plan_options())
        x, _ = self._run(batch, plan)
        return batch.in_order(self.readout(x, plan.rounds[-1].new_nodes, batch.buckets))

    def changes(
        self,
        networks: Networks | Sequence[Networks],
        activations: Sequence[str] | None = None,
        *,
        node_features: NodeFeatures | None = None,
        evidence: Evidence | Sequence[Evidence] | None = None,
    ) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Weight output as plain tensors.

        Args:
            networks, activations, node_features, evidence: As for :meth:`forward`.

        Returns:
            For each of the ``Networks`` given, the changes of the weights by block, [B · cells, targets, sources,
            \\*kernel], and of the biases by group, [B, n]: of a chain, per layer [B, out, in, \\*kernel] and [B, out].

        Raises:
            ZoovetError: As for :meth:`forward`, or the metanetwork has no weight output.
        """
        if self.weight_head is None:
            raise ZoovetError("only a metanetwork with output 'weights' makes changes of weights; this one has 'graph'")
        batch = self._read(networks, activations, node_features, evidence)
        plan = plan_rounds(batch.buckets, self._plan_options())
        x, edges = self._run(batch, plan)
        last = plan.rounds[-1]
        weights, biases = self.weight_head(x, edges[0].rows(), last, batch.buckets)
        return list(zip(batch.merged(weights), batch.merged(biases), strict=True))

    def _read(
        self,
        networks: Networks | Sequence[Networks],
        activations: Sequence[str] | None,
        node_features: NodeFeatures | None,
        evidence: Evidence | Sequence[Evidence] | None,
    ) -> Batch:
        dtype = self.project_nodes.weight.dtype
        batch = read_batch(
            networks, activations, node_features, config=self.config, behaviour=self.behaviour, dtype=dtype
        )
        if self.probes is not None:
            batch = batch.with_node_features(self.probes(batch.networks()))
        if self.config.inversion is not None:
            found = require_evidence(evidence, listed(networks), self.config.inversion)
            given = [own.to(dtype=dtype) for own in found]
            batch = batch.with_evidence(given, self.config.inversion, self.config.num_output_rows)
        elif evidence is not None:
            raise ZoovetError("this metanetwork reads no evidence; leave it out, or set inversion in its configuration")
        return batch

    def _plan_options(self) -> PlanOptions:
        config = self.config
        return PlanOptions(
            num_rounds=config.num_layers,
            is_bidirectional=config.is_bidirectional,
            updates_backward_edges=updates_backward_edges(config, self.behaviour),
            reads="weights" if config.output == "weights" else _nodes_read(config),
            max_rows=MAX_ROWS,
        )

    def _run(self, batch: Batch, plan: Plan) -> tuple[Tensor, list[EdgeFeatures]]:
        """All rounds: the nodes [N, d] and the edges of each direction as they are in the end."""
        first = plan.rounds[0]
        nodes = node_rows(first.nodes, batch.buckets, batch.contents, self.behaviour.input_feature)
        embedding = self.node_embedding.rows(first.nodes, batch.buckets)
        x = self.node_embedding(self.project_nodes(nodes), embedding, first.nodes)
        edges = self._first_edges(batch, plan)
        columns = self._columns(batch)
        layout = first.nodes
        for index, (module, step) in enumerate(zip(self.rounds, plan.rounds, strict=True)):
            if step.nodes is not layout and self._uses_embedding:
                embedding, layout = self.node_embedding.rows(step.nodes, batch.buckets), step.nodes
            is_last = index == len(plan.rounds) - 1
            x, edges = module(x, edges, embedding if self._uses_embedding else None, step, columns if is_last else None)
        return x, edges

    @property
    def _uses_embedding(self) -> bool:
        return self.config.message_embedding or self.config.update_embedding

    def _columns(self, batch: Batch) -> Tensor | None:
        """Kernel positions whose change is computed; ``None`` where that is one number an edge, or no change."""
        if self.config.output != "weights" or self.behaviour.one_number_per_edge:
            return None
        used = used_positions(batch.buckets, self.config.max_kernel)
        return torch.tensor(used, device=self.project_edges.weight.device)

    def _first_edges(self, batch: Batch, plan: Plan) -> list[EdgeFeatures]:
        used = used_positions(batch.buckets, self.config.max_kernel)
        edges = []
        for is_backward, direction in enumerate(plan.rounds[0].directions):
            own_backward = self.project_backward_edges if is_backward else None
            weight = (own_backward or self.project_edges).weight
            num_positions = self.config.max_kernel[0] * self.config.max_kernel[1]
            projection = weight.reshape(len(weight), -1, num_positions)
            is_short = len(used) * projection.shape[1] <= len(weight) and self.edge_embedding is None
            rows = edge_rows(
                direction.edges,
                batch.buckets,
                batch.contents,
                self.config.max_kernel,
                inverse=own_backward is not None and self.config.symmetry != "permutation",
                projection=None if is_short else projection,
            )
            if self.edge_embedding is not None:
                rows = self.edge_embedding(rows, direction.edges, batch.buckets)
            edges.append(EdgeFeatures((rows,), projection[..., used].flatten(1) if is_short else None))
        return edges


def _nodes_read(config: ScaleGMNConfig) -> str:
    """Which nodes' last features the readout needs, in the plan's words."""
    return "last_layer" if config.readout == "pooled_outputs" else config.readout
