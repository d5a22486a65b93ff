"""Structure: a network's nodes and edges as a metanetwork sees them, whatever they were made from.

Nodes come in *groups* of channels, edges in *blocks* from one group to another. A block of c *cells* is c blocks side
by side, each dense: the first cell's targets read the first cell's sources and no others. So one cell is a dense layer,
and as many cells as there are channels are a diagonal one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from zoovet.symmetry import Symmetry

__all__ = ["NodeGroup", "Structure", "StructureBlock"]


@dataclass(frozen=True, kw_only=True)
class NodeGroup:
    """Nodes that are treated alike.

    Attributes:
        size: How many.
        role: ``input``, ``hidden`` or ``output``.
        depth: Most blocks on a way from the input.
        symmetry: What its nodes may be multiplied with, or more; ``fixed`` for the input and the output.
    """

    size: int
    role: Literal["input", "hidden", "output"]
    depth: int
    symmetry: Symmetry


@dataclass(frozen=True, kw_only=True, eq=False)
class StructureBlock:
    """Edges from one group to another.

    Attributes:
        source, target: Which groups.
        cells: Dense blocks that stand side by side.
        num_targets, num_sources: Nodes of one cell.
        kernel: (height, width) of an edge's numbers; ``()`` for a single one.
        kind: ``weights``: an edge has a weight's numbers; ``identity``: the number 1, its ends having equal scalars;
            ``gate``: the size of its target, its source having the scalar 1.
        is_tied: Both ends of an edge have equal scalars, so that its numbers have none.
        source_index, target_index: [cells · nodes of one], int64, which nodes of the group a block is between, in its
            own order; ``None`` for all in theirs.
        is_written: Its edges' changes are changes of weights.
    """

    source: int
    target: int
    cells: int = 1
    num_targets: int
    num_sources: int
    kernel: tuple[int, ...] = ()
    kind: Literal["weights", "identity", "gate"] = "weights"
    is_tied: bool = False
    source_index: Tensor | None = None
    target_index: Tensor | None = None
    is_written: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
    """All groups and blocks of a network. The same object for equal networks, so that what is planned for it is found.

    Attributes:
        groups: The input first.
        blocks: In an order in which their targets can be computed.
        output: Which group the output is.
        description: For messages.
    """

    groups: tuple[NodeGroup, ...]
    blocks: tuple[StructureBlock, ...]
    output: int
    description: str

    @property
    def num_hidden_depths(self) -> int:
        """Depths at which there may be hidden groups: the largest of any."""
        return max((group.depth for group in self.groups if group.role == "hidden"), default=0)

    def is_written(self, group: int) -> bool:
        """Whether a group's nodes carry a change: all but the input's."""
        return self.groups[group].role != "input"
