"""From the last edge and node features to a change of every weight and bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.kernels import kernel_positions, kernels_of_size, used_positions
from zoovet.metanets.layout import Bucket
from zoovet.metanets.plan import RoundPlan
from zoovet.metanets.structure import Structure
from zoovet.metanets.tables import table_row

__all__ = ["WeightHead"]


class WeightHead(nn.Module):
    """Every edge's and node's numbers times a learned scalar of its layer.

    Attributes:
        weight_scale: [max_depth + 1]: by the depth of the layer's source; the last one is the output layer's.
        bias_scale: The same for biases.
    """

    def __init__(self, config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> None:
        super().__init__()
        self.weight_scale = nn.Parameter(torch.empty(config.max_depth + 1))
        self.bias_scale = nn.Parameter(torch.empty(config.max_depth + 1))
        self.out_scale = config.out_scale
        self.max_kernel = config.max_kernel
        self.one_number = behaviour.one_number_per_edge

    def initialize(self, generator: torch.Generator | None) -> None:
        """Set all scalars to their initial value."""
        nn.init.constant_(self.weight_scale, self.out_scale)
        nn.init.constant_(self.bias_scale, self.out_scale)

    def forward(
        self, x: Tensor, edges: Tensor, plan: RoundPlan, buckets: Sequence[Bucket]
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Changes by bucket.

        Args:
            x: [N, 1], the nodes after the last round.
            edges: [E, K], the edges after it; K is 1 where an edge has one number.
            plan: The last round.
            buckets: What the networks are.

        Returns:
            Changes of the weights by block that has some, in order, [B · cells, targets, sources, \\*kernel] (without
            kernel axes where an edge has one number), and of the nodes' biases by group but the input, [B, n].
        """
        layout = plan.directions[0].new_edges
        of_edges = dict(
            zip(layout.by_key, torch.split(edges, [segment.num_rows for segment in layout.segments]), strict=True)
        )
        nodes = plan.new_nodes
        of_nodes = dict(
            zip(nodes.by_key, torch.split(x, [segment.num_rows for segment in nodes.segments]), strict=True)
        )
        used = used_positions(buckets, self.max_kernel)
        weights: list[list[Tensor]] = []
        biases: list[list[Tensor]] = []
        for index, bucket in enumerate(buckets):
            structure = bucket.structure
            weights.append([])
            for position, block in enumerate(structure.blocks):
                if not block.is_written:
                    continue
                rows = of_edges[index, position]
                shape: tuple[int, ...] = (bucket.size * block.cells, block.num_targets, block.num_sources)
                if not self.one_number:
                    positions = kernel_positions(block.kernel, self.max_kernel)
                    if positions != used:
                        rows = rows[:, [used.index(position) for position in positions]]
                    rows = kernels_of_size(rows, block.kernel, self.max_kernel)
                    shape = (*shape, *block.kernel)
                depth = structure.groups[block.source].depth
                weights[-1].append(rows.reshape(shape) * self._scale(self.weight_scale, structure, block.target, depth))
            biases.append(
                [
                    of_nodes[index, position].reshape(bucket.size, -1)
                    * self._scale(self.bias_scale, structure, position, group.depth - 1)
                    for position, group in enumerate(structure.groups)
                    if structure.is_written(position)
                ]
            )
        return weights, biases

    def _scale(self, table: Tensor, structure: Structure, target: int, depth: int) -> Tensor:
        """The scalar of what leads from a depth into a group; the last one's is the output's."""
        if structure.groups[target].role == "output":
            return table[-1]
        return table_row(table[:-1], max(depth, 0), structure.num_hidden_depths)
