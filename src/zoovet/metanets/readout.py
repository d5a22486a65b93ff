"""From the nodes' last features to numbers for the whole network.

Output and input nodes are told apart by their index. Where networks of one batch have different numbers of them, a
linear map of the concatenated nodes uses the columns of those that are there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.equivariant import Invariant, branch_of, branches_of
from zoovet.metanets.layout import Bucket, NodeLayout
from zoovet.metanets.messages import Sums, split_nodes
from zoovet.metanets.mlp import MLP, Linear, MLPTail
from zoovet.metanets.tables import table_rows

__all__ = ["DeepSetsReadout", "FullGraphReadout", "LastLayerReadout", "PooledOutputsReadout", "SlotLinear"]


class SlotLinear(nn.Module):
    """A linear map of concatenated nodes, for any number of them: beyond ``num_slots``, it is stretched over them.

    Attributes:
        weight: [out, num_slots, d].
        bias: [out] or ``None``.
    """

    def __init__(self, num_slots: int, width: int, out_width: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_width, num_slots, width))
        self.bias = nn.Parameter(torch.empty(out_width)) if bias else None

    def initialize(self, generator: torch.Generator | None) -> None:
        """Draw the initial values, as if half of the slots were used."""
        deviation = 1 / math.sqrt(self.weight.shape[2] * max(1, self.weight.shape[1] // 2))
        nn.init.normal_(self.weight, std=deviation, generator=generator)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, nodes: Tensor) -> Tensor:
        """Map [B, n, d] to [B, out]."""
        count, room = nodes.shape[1], self.weight.shape[1]
        weight = self.weight[:, :count]
        if count > room:
            weight = table_rows(self.weight.transpose(0, 1), count).transpose(0, 1) * (room / count)
        return F.linear(nodes.flatten(1), weight.flatten(1), self.bias)


class StandardizedFeatures(nn.BatchNorm1d):
    """Features [B, k] standardized over the networks of a batch; by running statistics in evaluation.

    What networks have in common is large in a readout's features, a sum over hundreds of nodes, and the LayerNorm of
    the MLP that follows divides by it; here it is subtracted. A single network has no deviation: in training, too, a
    batch of one goes by the running statistics, and leaves them as they are.

    These follow the batches faster than BatchNorm's usual ones: a mean thousands of times the deviation, as it was a
    few steps ago, is off by many deviations.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, eps=1e-8, momentum=0.3)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, k] to [B, k]."""
        if len(features) > 1:
            return super().forward(features)
        return F.batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def standardization(num_features: int, config: ScaleGMNConfig) -> nn.Module:
    """What standardizes the features that a readout's last MLP reads, where that is configured."""
    return StandardizedFeatures(num_features) if config.standardize_readout else nn.Identity()


def of_role(x: Tensor, nodes: NodeLayout, buckets: Sequence[Bucket], role: str) -> list[Tensor]:
    """The nodes of one role of every bucket, each [B, n, d]."""
    by_group: Sums = split_nodes(x, nodes)
    positions = [0 if role == "input" else bucket.structure.output for bucket in buckets]
    return [by_group[index, position] for index, position in enumerate(positions)]


class LastLayerReadout(nn.Module):
    """An MLP of the output nodes; bidirectional: of linear maps of the output and of the input nodes."""

    def __init__(self, config: ScaleGMNConfig) -> None:
        super().__init__()
        width = config.width
        is_bidirectional = config.is_bidirectional
        out_width = width if is_bidirectional else config.mlp_width
        self.project_outputs = SlotLinear(config.max_outputs, width, out_width, bias=True)
        self.project_inputs = SlotLinear(config.max_inputs, width, width, bias=True) if is_bidirectional else None
        self.mlp = (
            MLP(2 * width, config.num_outputs, config) if is_bidirectional else MLPTail(config.num_outputs, config)
        )
        self.standardize = standardization(2 * width if is_bidirectional else out_width, config)

    def forward(self, x: Tensor, nodes: NodeLayout, buckets: Sequence[Bucket]) -> Tensor:
        """Nodes [N, d] to [networks, num_outputs], bucket by bucket."""
        outputs = torch.cat([self.project_outputs(part) for part in of_role(x, nodes, buckets, "output")])
        if self.project_inputs is None:
            return self.mlp.after_first(self.standardize(outputs))
        inputs = torch.cat([self.project_inputs(part) for part in of_role(x, nodes, buckets, "input")])
        result: Tensor = self.mlp(self.standardize(torch.cat([outputs, inputs], dim=1)))
        return result


class PooledOutputsReadout(nn.Module):
    """An MLP of the output nodes twice: in order, as a linear map of them, and as a set.

    As a set: an MLP of every node beside their mean; then the mean and the maximum over the nodes. What is told by
    *some* class, whichever, is found there. Bidirectional: a linear map of the input nodes joins the last MLP.
    """

    def __init__(self, config: ScaleGMNConfig) -> None:
        super().__init__()
        width = config.width
        self.of_output = MLP(2 * width, width, config)
        self.project_outputs = SlotLinear(config.max_outputs, width, width, bias=True)
        self.project_inputs = (
            SlotLinear(config.max_inputs, width, width, bias=True) if config.is_bidirectional else None
        )
        num_features = (4 if config.is_bidirectional else 3) * width
        self.standardize = standardization(num_features, config)
        self.mlp = MLP(num_features, config.num_outputs, config)

    def forward(self, x: Tensor, nodes: NodeLayout, buckets: Sequence[Bucket]) -> Tensor:
        """Nodes [N, d] to [networks, num_outputs], bucket by bucket."""
        views = []
        for outputs in of_role(x, nodes, buckets, "output"):
            mean = outputs.mean(dim=1, keepdim=True).expand_as(outputs)
            each = self.of_output(torch.cat([outputs, mean], dim=2).flatten(0, 1)).unflatten(0, outputs.shape[:2])
            views.append(torch.cat([each.mean(dim=1), each.amax(dim=1), self.project_outputs(outputs)], dim=1))
        features = torch.cat(views)
        if self.project_inputs is not None:
            inputs = torch.cat([self.project_inputs(part) for part in of_role(x, nodes, buckets, "input")])
            features = torch.cat([features, inputs], dim=1)
        result: Tensor = self.mlp(self.standardize(features))
        return result


class FullGraphReadout(nn.Module):
    """An MLP of Σ inv(x) over the hidden nodes, of the input nodes and of the output nodes."""

    def __init__(self, config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> None:
        super().__init__()
        width = config.width
        self.invariant = nn.ModuleDict(
            {branch: Invariant(branch, width, 0, width, config, behaviour) for branch in branches_of(config, behaviour)}
        )
        self.from_hidden = Linear(width, config.mlp_width)
        self.from_inputs = SlotLinear(config.max_inputs, width, config.mlp_width, bias=False)
        self.from_outputs = SlotLinear(config.max_outputs, width, config.mlp_width, bias=False)
        self.standardize = standardization(config.mlp_width, config)
        self.mlp = MLPTail(config.num_outputs, config)

    def forward(self, x: Tensor, nodes: NodeLayout, buckets: Sequence[Bucket]) -> Tensor:
        """Nodes [N, d] to [networks, num_outputs], bucket by bucket."""
        totals = [x.new_zeros(bucket.size, x.shape[1]) for bucket in buckets]
        for run in nodes.class_runs:
            if run.label in ("input", "output"):
                continue
            invariant = self.invariant[branch_of(run.label)]
            assert isinstance(invariant, Invariant)
            normalize = run.label in ("scale", "nonzero")
            hidden = invariant.hidden(x[run.start : run.stop], normalize=normalize)
            for segment in nodes.segments:
                if run.start <= segment.start < run.stop:
                    part = hidden[segment.start - run.start :][: segment.num_rows]
                    sums = part.view(segment.batch, segment.size, -1).sum(1)
                    counts = sums.new_full((segment.batch, 1), segment.size)
                    index = segment.key[0]
                    totals[index] = totals[index] + invariant.phi.finish(sums, counts)
        before = self.from_hidden(torch.cat(totals))
        before = before + torch.cat([self.from_inputs(part) for part in of_role(x, nodes, buckets, "input")])
        before = before + torch.cat([self.from_outputs(part) for part in of_role(x, nodes, buckets, "output")])
        return self.mlp.after_first(self.standardize(before))


class DeepSetsReadout(nn.Module):
    """For the permutation symmetry alone: an MLP of the sum over all nodes of an MLP."""

    def __init__(self, config: ScaleGMNConfig) -> None:
        super().__init__()
        self.of_node = MLP(config.width, config.width, config)
        self.standardize = standardization(config.width, config)
        self.of_sum = MLP(config.width, config.num_outputs, config)

    def forward(self, x: Tensor, nodes: NodeLayout, buckets: Sequence[Bucket]) -> Tensor:
        """Nodes [N, d] to [networks, num_outputs], bucket by bucket."""
        by_group = split_nodes(self.of_node.hidden(x), nodes)
        totals = []
        for index, bucket in enumerate(buckets):
            groups = [by_group[index, position] for position in range(len(bucket.structure.groups))]
            sums = torch.stack([group.sum(1) for group in groups]).sum(0)
            counts = sums.new_full((bucket.size, 1), sum(group.shape[1] for group in groups))
            totals.append(self.of_node.finish(sums, counts))
        result: Tensor = self.of_sum(self.standardize(torch.cat(totals)))
        return result
