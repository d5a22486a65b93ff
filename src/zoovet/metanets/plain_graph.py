"""A network as the paper draws it: numbered nodes, a list of edges, a feature of each. For readers and tests only.

Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, section 3. What computes is :mod:`layout`,
which knows blocks instead of edges. Shapes: B networks, N nodes, E edges, K numbers of the largest kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from zoovet.metanets.contents import Weights
from zoovet.metanets.kernels import fitted_kernels, flat_kernels, kernel_positions
from zoovet.metanets.layout import Bucket, NodeLayout, NodeSegment
from zoovet.metanets.structure import StructureBlock

__all__ = ["PlainGraph", "plain_graph"]


@dataclass(frozen=True, eq=False)
class PlainGraph:
    """B networks of one structure.

    Attributes:
        bucket: What they are.
        content: Their numbers.
        groups: Role, class and symmetry of each group of nodes.
        nodes: Which nodes each group has.
        edges: Which edges each block has.
        source, target: [E], the nodes j and i of the edge that carries w_ij.
    """

    bucket: Bucket
    content: Weights
    groups: tuple[NodeSegment, ...]
    nodes: tuple[slice, ...]
    edges: tuple[slice, ...]
    source: Tensor
    target: Tensor

    def biases(self, input_feature: float) -> Tensor:
        """x_V(i) = b_i; what has no bias is ``input_feature`` at the input and 0 elsewhere: [B, N, 1]."""
        parts = []
        for group, bias in zip(self.groups, self.content.biases, strict=True):
            value = input_feature if group.role == "input" else 0.0
            empty = self.content.like.new_full((group.batch, group.size), value)
            parts.append(empty if bias is None else bias)
        return torch.cat(parts, dim=1).unsqueeze(2)

    def kernels(self, max_kernel: tuple[int, int]) -> Tensor:
        """x_E(i, j) = w_ij, flattened, with zeros around smaller kernels: [B, E, K].

        An edge without a weight carries 1; a gate's the size of the channel that it leads to.
        """
        sizes = self.sizes(mean=True)
        parts = []
        for block, weight, edges in self._blocks():
            rows = self.content.like.new_zeros(len(sizes), edges.stop - edges.start, max_kernel[0] * max_kernel[1])
            if weight is not None:
                numbers = fitted_kernels(weight, max_kernel).reshape(*rows.shape[:2], -1)
            elif block.kind == "gate":
                numbers = sizes[:, self.target[edges]].unsqueeze(2).to(rows.dtype)
            else:
                numbers = rows.new_ones(*rows.shape[:2], 1)
            rows[:, :, kernel_positions(block.kernel, max_kernel)] = numbers
            parts.append(rows)
        return torch.cat(parts, dim=1)

    def inverse_kernels(self, max_kernel: tuple[int, int]) -> Tensor:
        """w_ij (size_j / size_i)², which scales by q_j / q_i as an inverse of the weight does: [B, E, K].

        0 where size_i is 0. The edge of a gate carries 1 / size_i.
        """
        sizes = self.sizes(mean=False)
        inverse = torch.where(sizes == 0, 0.0, 1 / sizes)
        kernels = self.kernels(max_kernel)
        parts = []
        for block, _, edges in self._blocks():
            rows, of_target = kernels[:, edges], inverse[:, self.target[edges]]
            if block.kind == "gate":
                rows = torch.zeros_like(rows)
                rows[:, :, kernel_positions((), max_kernel)] = of_target.unsqueeze(2).to(rows.dtype)
            elif not block.is_tied:
                ratio = sizes[:, self.source[edges]] * of_target
                rows = (rows * ratio.unsqueeze(2) ** 2).to(rows.dtype)
            parts.append(rows)
        return torch.cat(parts, dim=1)

    def sizes(self, *, mean: bool) -> Tensor:
        """size_i = √(b_i² + Σ_j ‖w_ij‖² size_j²), which scales by |q_i|; 1 where nothing does: [B, N] in float64.

        With ``mean``, the mean over the edges of a block in place of the sum.
        """
        structure, symmetries = self.bucket.structure, self.bucket.symmetries
        sizes = torch.ones(self.bucket.size, self.nodes[-1].stop, dtype=torch.float64)
        scaled = {index for index, symmetry in enumerate(symmetries) if symmetry in ("scale", "nonzero")}
        for index, (group, nodes) in enumerate(zip(self.groups, self.nodes, strict=True)):
            incoming = [each for each in self._blocks() if each[0].target == index and each[0].kind != "gate"]
            is_led_to = group.role == "output" and any(block.source in scaled for block, _, _ in incoming)
            if index not in scaled and not is_led_to:
                continue
            assert structure.groups[index].role != "input"
            bias = self.content.biases[index]
            squares = torch.zeros_like(sizes)
            if bias is not None:
                squares[:, nodes] = bias.double() ** 2
            for block, weight, edges in incoming:
                norms = torch.ones(len(sizes), edges.stop - edges.start, dtype=torch.float64)
                if weight is not None and not block.is_tied:
                    norms = (flat_kernels(weight).double() ** 2).sum(3).reshape(norms.shape)
                terms = norms * sizes[:, self.source[edges]] ** 2 / (block.num_sources if mean else 1)
                squares = squares.index_add(1, self.target[edges], terms)
            sizes[:, nodes] = squares[:, nodes].sqrt()
        return sizes

    def _blocks(self) -> list[tuple[StructureBlock, Tensor | None, slice]]:
        return list(zip(self.bucket.structure.blocks, self.content.weights, self.edges, strict=True))


def plain_graph(bucket: Bucket, content: Weights) -> PlainGraph:
    """Number the nodes group by group and the edges block by block, of each by cell, target and source."""
    structure = bucket.structure
    layout = NodeLayout.build([bucket], [(0, index) for index in range(len(structure.groups))])
    groups = tuple(layout.by_key[0, index] for index in range(len(structure.groups)))
    nodes = tuple(slice(*ends) for ends in pairwise(accumulate((group.size for group in groups), initial=0)))
    sources, targets = [], []
    for block in structure.blocks:
        ends = []
        for group, index in ((block.source, block.source_index), (block.target, block.target_index)):
            own = torch.arange(groups[group].size) if index is None else index
            ends.append(nodes[group].start + own.reshape(block.cells, -1))
        shape = (block.cells, block.num_targets, block.num_sources)
        sources.append(ends[0][:, None, :].expand(shape).flatten())
        targets.append(ends[1][:, :, None].expand(shape).flatten())
    edges = tuple(slice(*ends) for ends in pairwise(accumulate(map(len, sources), initial=0)))
    return PlainGraph(bucket, content, groups, nodes, edges, torch.cat(sources), torch.cat(targets))
