"""GraphSymmetry: which channels of a graph may be exchanged, and what each may be multiplied with.

Found by walking the graph: the laws of its operations tie slots together (:mod:`zoovet.symmetry.ties`); connected ones
are one *atom*, which moves as a whole; atoms that stand in the same sites in the same way form a *group* and may be
exchanged. Within an atom, slots that share their scalar are a *scale class*: a batch norm or a depthwise convolution
stands between two classes of one atom.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from zoovet.networks.graph import INPUT, Graph
from zoovet.printable import printable
from zoovet.symmetry.laws import LAWS, Law, Step, fix_all
from zoovet.symmetry.ties import NEGATION, NONZERO, POSITIVE, UNSCALED, AlongAxis, Matrix, Slots, Ties

__all__ = ["GraphGroup", "GraphSymmetry", "Symmetry", "find_symmetry", "graph_symmetry"]

Symmetry = Literal["nonzero", "scale", "sign", "permutation", "fixed"]
"""What may be done to the channels of a site.

- ``nonzero``: permutations, and any scalar q ≠ 0 for each channel (identity);
- ``scale``: permutations, and any q > 0 (relu, leaky_relu);
- ``sign``: permutations, and q = ±1 (tanh, sine);
- ``permutation``: permutations alone (sigmoid, gelu, silu; tanh or sine before max pooling);
- ``fixed``: nothing (the input and the output).

Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, section 4.
"""

_NAMES: dict[int, Symmetry] = {
    NONZERO: "nonzero",
    POSITIVE: "scale",
    NEGATION: "sign",
    UNSCALED: "permutation",
}


@dataclass(frozen=True, eq=False)
class GraphGroup:
    """Atoms that may be exchanged: permuting them, each with all its slots, changes no function.

    Attributes:
        slots: [atoms, slots of each], row by row in the same order of sites.
    """

    slots: Slots

    @property
    def size(self) -> int:
        """How many atoms it has: two at least."""
        return len(self.slots)


@dataclass(frozen=True, eq=False)
class GraphSymmetry:
    """What may be done to the channels of a graph's networks without changing their functions.

    Attributes:
        graph: The graph.
        starts: First slot of each site that has channels.
        num_slots: How many slots there are.
        groups: What may be permuted. A slot in none of them stays where it is.
        scale_class: [num_slots], which scalar each slot is multiplied with.
        allowed: [scale classes], what that may be: bits of :mod:`zoovet.symmetry.ties`.
        uses: How parameters follow the slots.
    """

    graph: Graph
    starts: Mapping[str, int]
    num_slots: int
    groups: tuple[GraphGroup, ...]
    scale_class: Slots
    allowed: NDArray[np.uint8]
    uses: tuple[AlongAxis | Matrix, ...]

    @property
    def num_classes(self) -> int:
        """How many scale classes there are."""
        return len(self.allowed)

    @cached_property
    def representatives(self) -> Slots:
        """[scale classes], a slot of each."""
        return np.unique(self.scale_class, return_index=True)[1]

    @cached_property
    def moves(self) -> NDArray[np.bool_]:
        """[num_slots], whether a slot is in a group."""
        found = np.zeros(self.num_slots, dtype=np.bool_)
        for group in self.groups:
            found[group.slots] = True
        return found

    @cached_property
    def free(self) -> NDArray[np.bool_]:
        """[scale classes], whether their slots can move or be scaled."""
        found: NDArray[np.bool_] = self.moves[self.representatives] | (self.allowed != UNSCALED)
        return found

    def with_scalars(self, allowed: int) -> GraphSymmetry:
        """The same permutations, all that is free being multiplied with the same; whether that is right is not asked.

        Args:
            allowed: Bits of :mod:`zoovet.symmetry.ties`.
        """
        return replace(self, allowed=np.where(self.free, np.uint8(allowed), np.uint8(UNSCALED)))

    def site_slots(self, site: str) -> Slots:
        """A site's slots; none where it has no channel axis."""
        if site not in self.starts:
            return np.empty(0, dtype=np.int64)
        found = self.graph.sites[site]
        assert found.channel_axis is not None
        return self.starts[site] + np.arange(found.shape[found.channel_axis])

    def site_symmetry(self, site: str) -> Symmetry:
        """What all channels of a site have in common: ``fixed`` where one of them can neither move nor be scaled."""
        slots = self.site_slots(site)
        if not len(slots):
            return "fixed"
        allowed = int(np.bitwise_and.reduce(self.allowed[self.scale_class[slots]]))
        return "fixed" if allowed == UNSCALED and not self.moves[slots].all() else _NAMES[allowed]

    def describe(self) -> str:
        """A table for people: of each site that an operation with weights or a joining one makes, what it allows."""
        lines = []
        for name in self.starts:
            slots = self.site_slots(name)
            kinds = Counter(
                _NAMES[int(self.allowed[self.scale_class[slot]])] if self.moves[slot] or self._scales(slot) else "fixed"
                for slot in slots
            )
            parts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            lines.append(f"{printable(name, 60):60s}  {len(slots):6d}  {parts}")
        return "\n".join(lines)

    def _scales(self, slot: int) -> bool:
        return bool(self.allowed[self.scale_class[slot]] != UNSCALED)


@lru_cache(maxsize=256)
def graph_symmetry(graph: Graph) -> GraphSymmetry:
    """The symmetry of a graph, by the laws of its operations."""
    return find_symmetry(graph, LAWS)


def find_symmetry(graph: Graph, laws: Mapping[str, Law]) -> GraphSymmetry:
    """The symmetry of a graph by other laws than ours; what they say is believed.

    Args:
        graph: Any graph.
        laws: Name of an operation → its law. An operation without one leaves all that it touches fixed.
    """
    ties = Ties(graph)
    steps = [Step(ties, operation) for operation in graph.operations]
    for step in steps:
        laws.get(step.operation.op, fix_all)(step)
    readers = Counter(name for operation in graph.operations for name in operation.parameters.values())
    for step in steps:
        if any(readers[name] > 1 for name in step.operation.parameters.values()):
            fix_all(step)  # one tensor for several operations: what moves for one would move for all
    ties.fix(ties.slots(INPUT))
    ties.fix(ties.slots(graph.output))
    atoms = _components(ties.permuting, ties.num_slots)
    while True:
        groups = _groups(ties, atoms)
        broken = _broken_ties(ties, groups)
        if not broken:
            break
        for slots in broken:
            ties.fix(slots)
    scale_class = _components(ties.scaling, ties.num_slots)
    allowed = np.full(int(scale_class.max(initial=-1)) + 1, NONZERO, dtype=np.uint8)
    np.bitwise_and.at(allowed, scale_class, ties.allowed)
    return GraphSymmetry(
        graph=graph,
        starts=dict(ties.starts),
        num_slots=ties.num_slots,
        groups=groups,
        scale_class=scale_class,
        allowed=allowed,
        uses=tuple(ties.uses),
    )


def _components(pairs: list[tuple[Slots, Slots]], num_slots: int) -> Slots:
    """[num_slots], the number of the connected component of each slot."""
    if not pairs:
        return np.arange(num_slots)
    first, second = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    matrix = coo_array((np.ones(len(first), dtype=np.bool_), (first, second)), shape=(num_slots, num_slots))
    labels: Slots = connected_components(matrix, directed=False)[1].astype(np.int64)
    return labels


def _groups(ties: Ties, atoms: Slots) -> tuple[GraphGroup, ...]:
    """Atoms of equal signature, the multiset of their slots' marks; two random sums of 64 bits stand for it."""
    draws = np.random.default_rng(0).integers(0, 2**64, size=(ties.num_marks, 2), dtype=np.uint64)
    slot_signature = np.zeros((ties.num_slots, 2), dtype=np.uint64)
    # All marks of a slot together say how it stands in its site, so they are mixed before atoms are summed.
    for slots, marks in ties.marks:
        slot_signature[slots] = (slot_signature[slots] ^ draws[marks]) * np.uint64(0x9E3779B97F4A7C15)
    num_atoms = int(atoms.max(initial=-1)) + 1
    signature = np.zeros((num_atoms, 2), dtype=np.uint64)
    np.add.at(signature, atoms, slot_signature)
    by_atom = np.argsort(atoms, kind="stable")  # slots of each atom side by side, in order
    counts = np.bincount(atoms, minlength=num_atoms)
    first = np.concatenate([[0], np.cumsum(counts)])
    _, label, size = np.unique(signature, axis=0, return_inverse=True, return_counts=True)
    label = label.reshape(-1)
    members = np.split(np.argsort(label, kind="stable"), np.cumsum(size)[:-1])
    groups = []
    for alike in members:
        if len(alike) < 2:
            continue
        width = int(counts[alike[0]])
        groups.append(GraphGroup(by_atom[first[alike][:, None] + np.arange(width)]))
    return tuple(groups)


def _broken_ties(ties: Ties, groups: tuple[GraphGroup, ...]) -> list[Slots]:
    """Slots of the ties that a random permutation of every group does not map onto ties of the same operation."""
    moved = np.arange(ties.num_slots)
    draw = np.random.default_rng(1)
    for group in groups:
        moved[group.slots] = group.slots[draw.permutation(group.size)]
    broken = []
    for first, second in ties.permuting:
        before = np.sort(first * ties.num_slots + second)
        after = np.sort(moved[first] * ties.num_slots + moved[second])
        if not np.array_equal(before, after):
            broken += [first, second]
    return broken
