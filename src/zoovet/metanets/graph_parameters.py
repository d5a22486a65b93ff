"""Where the numbers of a graph's nodes and edges are among its parameters."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zoovet.metanets.structure import Structure

__all__ = ["EdgeParameter", "GraphStructure", "NodeParameter"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EdgeParameter:
    """Where a block's numbers are.

    Attributes:
        weight: Name of the parameter; ``None`` for 1.
        axis: Of a diagonal block: the axis along which it has a number for each edge, the mean over the others;
            ``None`` where the tensor as a whole is the block's.
        is_shared: It has one number for all edges.
        variance: Of a batch norm, a parameter whose root with ``eps`` divides it.
        eps: Added to the variance.
    """

    weight: str | None
    axis: int | None = None
    is_shared: bool = False
    variance: str | None = None
    eps: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class NodeParameter:
    """Where the biases of a group's nodes are.

    Attributes:
        bias: Name of the parameter; ``None`` for 0.
        axis: The axis along which it has an entry for each of ``nodes``; the mean over the others.
        nodes: [entries] int64, the node that each entry belongs to; a node has the mean of its entries.
        mean: Of a batch norm, a parameter that is subtracted from what it reads.
        scale: What multiplies that.
    """

    bias: str | None
    axis: int = 0
    nodes: Tensor
    mean: str | None = None
    scale: EdgeParameter | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphStructure(Structure):
    """A graph's structure.

    Attributes:
        edge_parameters: Per block, ``None`` where it has no numbers of its own.
        node_parameters: Per group, ``None`` where it has no biases.
        sites: Per group, the graph's sites whose channels are its nodes.
    """

    edge_parameters: tuple[EdgeParameter | None, ...]
    node_parameters: tuple[NodeParameter | None, ...]
    sites: tuple[tuple[str, ...], ...]
