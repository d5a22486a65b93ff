"""The structure of a graph: nodes at its sites, and edges where an operation makes one site's channels from another's.

A linear operation makes a dense block (of several cells where it is grouped); a norm or a slope for each channel a
diagonal one; whatever passes channels on (an addition, a concatenation, a shuffle) edges between those that are the
same, which the laws of the operations say (:mod:`zoovet.symmetry.laws`). What merely follows a site that nothing
else reads, as an activation or a pooling does, shares its nodes. What no law is known for leaves its channels fixed,
and is connected as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.metanets.graph_parameters import EdgeParameter, GraphStructure, NodeParameter
from zoovet.metanets.structure import NodeGroup, StructureBlock
from zoovet.networks.graph import INPUT, Graph, Operation
from zoovet.symmetry import GraphSymmetry, Symmetry, graph_symmetry
from zoovet.symmetry.laws import LAWS, Step, fix_all
from zoovet.symmetry.ties import NEGATION, NONZERO, POSITIVE, UNSCALED, AlongAxis, Matrix, Slots, Ties

__all__ = ["graph_structure"]

_NAMES: dict[int, Symmetry] = {NONZERO: "nonzero", POSITIVE: "scale", NEGATION: "sign", UNSCALED: "permutation"}


@lru_cache(maxsize=256)
def graph_structure(graph: Graph) -> GraphStructure:
    """The structure of a graph.

    Raises:
        ZoovetError: The graph answers with its input.
    """
    with torch.inference_mode(False):  # it is kept, and a training may read next what a detector's scoring made
        walk = _Walk(graph)
        for operation in graph.operations:
            walk.visit(operation)
        return walk.structure()


@dataclass(eq=False)
class _Group:
    size: int
    is_fixed: bool
    allowed: int = UNSCALED
    depth: int = 1
    parameter: NodeParameter | None = None


@dataclass(eq=False)
class _Walk:
    """A graph on its way to a structure, operation by operation.

    Attributes:
        groups, blocks, parameters: What was made so far.
        nodes: Name of a site with channels → its group, and the node of each of its slots.
        origins: Name of a site without → the groups that its numbers come from.
        maps: Name of a flattened site → height and width of the maps that it was.
    """

    graph: Graph
    groups: list[_Group] = field(default_factory=list)
    blocks: list[StructureBlock] = field(default_factory=list)
    parameters: list[EdgeParameter | None] = field(default_factory=list)
    nodes: dict[str, tuple[int, Slots]] = field(default_factory=dict)
    origins: dict[str, tuple[int, ...]] = field(default_factory=dict)
    maps: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.symmetry: GraphSymmetry = graph_symmetry(self.graph)
        self.ties = Ties(self.graph)
        self._starts = np.array(list(self.ties.starts.values()))
        self._names = list(self.ties.starts)
        self._bridges: dict[tuple[str, int], int] = {}
        self._new_site(INPUT)
        self.groups[0].depth = 0

    def visit(self, operation: Operation) -> None:
        """Add an operation."""
        num_ties, num_uses = len(self.ties.permuting), len(self.ties.uses)
        LAWS.get(operation.op, fix_all)(Step(self.ties, operation))
        ties, uses = self.ties.permuting[num_ties:], self.ties.uses[num_uses:]
        self._note_map(operation)
        if operation.op in ("conv2d", "linear"):
            self._add_linear(operation, any(isinstance(use, Matrix) for use in uses))
        elif operation.op == "parameter":
            self._add_parameter(operation)
        elif operation.output not in self.ties.starts:
            found = [group for name in operation.inputs for group in self._groups_of(name)]
            self.origins[operation.output] = tuple(dict.fromkeys(found))
        elif operation.parameters and ties:
            self._add_diagonal(operation, ties[0], [use for use in uses if isinstance(use, AlongAxis)])
        else:
            self._add_passing(operation, ties)

    def structure(self) -> GraphStructure:
        """What came out."""
        output = self.graph.output
        if output in self.nodes:
            last = self.nodes[output][0]
        else:
            last = self._bridge(output, self.graph.sites[output].shape[-1] if self.graph.output_shape else 1)
        if last == 0:
            raise ZoovetError("a metanetwork cannot read networks whose output is their input")
        groups = []
        for index, group in enumerate(self.groups):
            is_hidden = index not in (0, last)
            groups.append(
                NodeGroup(
                    size=group.size,
                    role="hidden" if is_hidden else "output" if index else "input",
                    depth=group.depth,
                    symmetry=_NAMES[group.allowed] if is_hidden else "fixed",
                )
            )
        return GraphStructure(
            groups=tuple(groups),
            blocks=tuple(self.blocks),
            output=last,
            description=self.graph.in_words(),
            edge_parameters=tuple(self.parameters),
            node_parameters=tuple(group.parameter for group in self.groups),
            sites=self._sites(),
        )

    def _sites(self) -> tuple[tuple[str, ...], ...]:
        """Names of the sites whose channels are a group's nodes, in their order, by group."""
        sites: list[list[str]] = [[] for _ in self.groups]
        for name, (group, _) in self.nodes.items():
            if self.graph.sites[name].num_channels == self.groups[group].size:
                sites[group].append(name)
        return tuple(map(tuple, sites))

    # Groups

    def _allowed(self, slots: Slots) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = self.symmetry.allowed[self.symmetry.scale_class[slots]]
        return found

    def _new_site(self, name: str) -> int:
        """A group for a site's channels; where the positions of one differ in their scalars, for its slots."""
        slots, nodes = self._slots_and_nodes(name)
        is_fixed = not self.symmetry.moves[slots].any() and not self._allowed(slots).any()
        size = int(nodes.max(initial=-1)) + 1
        allowed = int(np.bitwise_or.reduce(self._allowed(slots), initial=UNSCALED))
        self.groups.append(_Group(size=size, is_fixed=bool(is_fixed), allowed=allowed))
        self.nodes[name] = (len(self.groups) - 1, nodes)
        return len(self.groups) - 1

    def _new_fixed(self, size: int) -> int:
        self.groups.append(_Group(size=size, is_fixed=True))
        return len(self.groups) - 1

    def _slots_and_nodes(self, name: str) -> tuple[Slots, Slots]:
        slots, positions = self.ties.slots(name), self.graph.sites[name].positions
        classes = self.symmetry.scale_class[slots].reshape(-1, positions)
        whole = positions > 1 and bool((classes == classes[:, :1]).all())
        return slots, np.arange(len(slots)) // (positions if whole else 1)

    def _groups_of(self, name: str) -> tuple[int, ...]:
        return (self.nodes[name][0],) if name in self.nodes else self.origins[name]

    def _bridge(self, name: str, size: int) -> int:
        """A group of fixed nodes for what stands along an axis of a site that is no axis of known channels."""
        found = self._groups_of(name)
        if len(found) == 1 and self.groups[found[0]].is_fixed and self.groups[found[0]].size == size:
            return found[0]
        if (name, size) not in self._bridges:
            self._bridges[name, size] = bridge = self._new_fixed(size)
            for group in found:
                self._connect(group, bridge)
        return self._bridges[name, size]

    # Blocks

    def _add_block(self, block: StructureBlock, parameter: EdgeParameter | None = None) -> None:
        self.blocks.append(block)
        self.parameters.append(parameter)
        target = self.groups[block.target]
        target.depth = max(target.depth, self.groups[block.source].depth + 1)

    def _connect(self, source: int, target: int) -> None:
        """All nodes of a group, none of which has a scalar, with all of another's; one by one where both are fixed."""
        first, second = self.groups[source], self.groups[target]
        if first.is_fixed and second.is_fixed and first.size == second.size:
            self._add_pairs(source, target, np.arange(first.size), np.arange(first.size), "identity")
            return
        if second.allowed & NEGATION:
            return
        if first.size > 1 and second.size > 1:
            hub = self._new_fixed(1)
            self._connect(source, hub)
            self._connect(hub, target)
            return
        self._add_block(
            StructureBlock(
                source=source,
                target=target,
                num_targets=second.size,
                num_sources=first.size,
                kind="gate" if second.allowed else "identity",
                is_written=False,
            )
        )

    def _add_pairs(
        self,
        source: int,
        target: int,
        sources: Slots,
        targets: Slots,
        kind: str,
        parameter: EdgeParameter | None = None,
        *,
        is_tied: bool = False,
    ) -> None:
        """Edges one by one, from each of these nodes to that in the same place."""
        self._add_block(
            StructureBlock(
                source=source,
                target=target,
                cells=len(sources),
                num_targets=1,
                num_sources=1,
                kind="gate" if kind == "gate" else "identity" if kind == "identity" else "weights",
                is_tied=is_tied,
                source_index=_index(sources, self.groups[source].size),
                target_index=_index(targets, self.groups[target].size),
                is_written=parameter is not None and parameter.weight is not None,
            ),
            parameter,
        )

    def _add_linear(self, operation: Operation, is_known: bool) -> None:
        name, weight = operation.inputs[0], operation.parameters["weight"]
        shape, cells = self.graph.shapes[weight], operation.attributes.get("groups", 1)
        kernel = shape[2:]
        if is_known:
            source = self.nodes[name][0]
            if (operation.op == "linear" and self.groups[source].size < shape[1]) or name in self.maps:
                kernel = self._kernel(name, shape[1] // self.groups[source].size)
        else:
            source = self._bridge(name, shape[1] * cells)
        if operation.output in self.ties.starts:
            target = self._new_site(operation.output)
        else:
            target = self._new_fixed(shape[0])
            self.origins[operation.output] = (target,)
        self._add_block(
            StructureBlock(
                source=source,
                target=target,
                cells=cells,
                num_targets=shape[0] // cells,
                num_sources=self.groups[source].size // cells,
                kernel=kernel,
            ),
            EdgeParameter(weight=weight),
        )
        if "bias" in operation.parameters:
            self.groups[target].parameter = NodeParameter(
                bias=operation.parameters["bias"], nodes=torch.arange(shape[0])
            )

    def _add_parameter(self, operation: Operation) -> None:
        value = operation.parameters["value"]
        shape, axis = self.graph.shapes[value], operation.attributes["channel_axis"]
        if operation.output in self.ties.starts and axis is not None:
            group = self._new_site(operation.output)
            nodes = self.nodes[operation.output][1]
        else:
            axis = len(shape) - 1
            group = self._new_fixed(shape[-1] if shape else 1)
            nodes = np.arange(self.groups[group].size)
            self.origins[operation.output] = (group,)
        self.groups[group].parameter = NodeParameter(bias=value, axis=axis, nodes=torch.from_numpy(nodes))

    def _add_diagonal(self, operation: Operation, tie: tuple[Slots, Slots], uses: Sequence[AlongAxis]) -> None:
        """A norm, or a slope for each channel: an edge for each slot."""
        source, of_sources = self.nodes[operation.inputs[0]]
        target = self._new_site(operation.output)
        of_targets = self.nodes[operation.output][1]
        axes = {use.parameter: use.axis for use in uses}
        roles = operation.parameters
        weight, is_shared = roles.get("weight"), False
        if weight is not None and weight not in axes:  # one number for all channels, or none that knows of them
            is_shared = self.graph.shapes[weight] == (1,)
            weight = weight if is_shared else None
        scale = EdgeParameter(
            weight=weight,
            axis=0 if is_shared else axes.get(weight or ""),
            is_shared=is_shared,
            variance=roles.get("running_var"),
            eps=operation.attributes.get("eps", 0.0),
        )
        is_tied = bool((self.symmetry.scale_class[tie[0]] == self.symmetry.scale_class[tie[1]]).all())
        self._add_pairs(source, target, of_sources, of_targets, "weights", scale, is_tied=is_tied)
        bias = roles["bias"] if roles.get("bias") in axes else None
        mean = roles.get("running_mean")
        if bias is not None or mean is not None:
            self.groups[target].parameter = NodeParameter(
                bias=bias, axis=axes.get(bias or "", 0), nodes=torch.from_numpy(of_targets), mean=mean, scale=scale
            )

    def _add_passing(self, operation: Operation, ties: Sequence[tuple[Slots, Slots]]) -> None:
        """What makes channels from the same ones of its inputs, or is not known."""
        pairs = self._pairs(operation, ties)
        if self._merges(operation, pairs):
            self.nodes[operation.output] = (pairs[0][1], self._slots_and_nodes(operation.output)[1])
            return
        target = self._new_site(operation.output)
        for _, source, sources, targets, kind in pairs:
            if kind != "none":
                self._add_pairs(source, target, sources, targets, kind, is_tied=kind == "identity")
        tied = {name for name, *_ in pairs}
        for name in dict.fromkeys(operation.inputs):
            if name not in tied:
                for source in self._groups_of(name):
                    self._connect(source, target)

    def _pairs(
        self, operation: Operation, ties: Sequence[tuple[Slots, Slots]]
    ) -> list[tuple[str, int, Slots, Slots, str]]:
        """By tie and input: its name, its group, its nodes, the output's nodes in the same places, what edges are."""
        found = []
        out_start, out_nodes = self.ties.starts[operation.output], self._slots_and_nodes(operation.output)[1]
        for first, second in ties:
            owners = np.searchsorted(self._starts, first, side="right") - 1
            for owner in np.unique(owners):
                chosen, name = owners == owner, self._names[owner]
                group, nodes = self.nodes[name]
                before, after = first[chosen], second[chosen]
                ends = np.stack([out_nodes[after - out_start], nodes[before - self.ties.starts[name]]])
                edges = np.unique(ends, axis=1)
                found.append((name, group, edges[1], edges[0], self._kind(before, after)))
        return found

    def _kind(self, before: Slots, after: Slots) -> str:
        """Edges between slots: ``identity`` where scalars are equal; else ``gate``, or none that would be right."""
        equal = self.symmetry.scale_class[before] == self.symmetry.scale_class[after]
        old, new = self._allowed(before), self._allowed(after)
        if (equal | ((old == UNSCALED) & (new == UNSCALED))).all():
            return "identity"
        return "gate" if not old.any() and not (new & NEGATION).any() else "none"

    def _merges(self, operation: Operation, pairs: Sequence[tuple[str, int, Slots, Slots, str]]) -> bool:
        """Whether an operation only follows a site that nothing else reads, so that its channels are the same nodes."""
        if len(operation.inputs) != 1 or operation.parameters or len(pairs) != 1:
            return False
        name, group, sources, targets, kind = pairs[0]
        if kind != "identity" or len(self.graph.readers[name]) != 1 or name == self.graph.output:
            return False
        size = int(self._slots_and_nodes(operation.output)[1].max(initial=-1)) + 1
        whole = np.arange(size)
        return size == self.groups[group].size and np.array_equal(sources, whole) and np.array_equal(targets, whole)

    # Maps

    def _note_map(self, operation: Operation) -> None:
        """Remember height and width where an operation flattens maps, or passes flattened ones on."""
        if len(operation.inputs) != 1 or operation.parameters:
            return
        name = operation.inputs[0]
        old, new = self.graph.sites[name], self.graph.sites[operation.output]
        if operation.op in ("flatten", "reshape") and old.channel_axis == 0 and len(old.shape) == 3:
            if len(new.shape) == 1 and old.positions == 1:
                self.maps[operation.output] = (old.shape[1], old.shape[2])
        elif name in self.maps and new.shape == old.shape and new.positions == old.positions:
            self.maps[operation.output] = self.maps[name]

    def _kernel(self, name: str, positions: int) -> tuple[int, ...]:
        height, width = self.maps.get(name, (1, positions))
        return (height, width) if height * width == positions else ()


def _index(nodes: Slots, size: int) -> Tensor | None:
    return None if np.array_equal(nodes, np.arange(size)) else torch.from_numpy(np.ascontiguousarray(nodes))
