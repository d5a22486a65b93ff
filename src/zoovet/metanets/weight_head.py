"""From the last edge and node features to a change of every weight and bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.features import kernel_positions, used_positions
from zoovet.metanets.layout import Bucket
from zoovet.metanets.plan import RoundPlan

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
        """Changes by bucket and layer.

        Args:
            x: [N, 1], the nodes after the last round.
            edges: [E, K], the edges after it; K is 1 where an edge has one number.
            plan: The last round.
            buckets: What the networks are.

        Returns:
            Changes of the weights, [B, out, in, \\*kernel] (without kernel axes where an edge has one number), and of
            the biases, [B, out].
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
            weights.append([])
            biases.append([])
            for block_index, block in enumerate(bucket.spec.blocks):
                layer = bucket.spec.layers[block.layer]
                is_last = bucket.spec.groups[block.target].role == "output"
                scale = -1 if is_last else block.layer
                rows = of_edges[index, block_index]
                shape: tuple[int, ...] = (bucket.size, layer.out_channels, layer.in_channels)
                if not self.one_number:
                    shape = (bucket.size, *layer.weight_shape)
                    positions = kernel_positions(layer.kernel, self.max_kernel)
                    if positions != used:
                        rows = rows[:, [used.index(position) for position in positions]]
                weights[-1].append(rows.reshape(shape) * self.weight_scale[scale])
                biases[-1].append(of_nodes[index, block.target].reshape(bucket.size, -1) * self.bias_scale[scale])
        return weights, biases
