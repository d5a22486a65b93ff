"""Slots and ties: which channels of a graph's sites are one and the same, and what each may be multiplied with.

A *slot* is an entry of a site along its channel axis: a channel, or in a flattened map a channel at a position. The
laws of the operations (:mod:`zoovet.symmetry.laws`) tie slots: those that permute together, and among these those
that share their scalar. Whole graphs are worked on as arrays: networks have hundreds of thousands of slots.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zoovet.networks.graph import Graph

__all__ = ["NEGATION", "NONZERO", "POSITIVE", "UNSCALED", "AlongAxis", "Matrix", "Slots", "Ties"]

Slots = NDArray[np.int64]

UNSCALED, POSITIVE, NEGATION = 0, 1, 2
NONZERO = POSITIVE | NEGATION
"""What a slot may be multiplied with: nothing but 1, any q > 0, ±1, any q ≠ 0. Both of two demands: ``&``."""


@dataclass(frozen=True, eq=False)
class AlongAxis:
    """A parameter one of whose axes holds a number for each of a site's slots, as a bias does.

    Attributes:
        parameter: Its name.
        axis: Which of its axes.
        slots: The slots that the entries of the axis belong to: consecutive numbers.
        factors: Slots and exponents: entry s is multiplied with the product of scalar(slots[s]) ** exponent.
    """

    parameter: str
    axis: int
    slots: Slots
    factors: tuple[tuple[Slots, int], ...]


@dataclass(frozen=True, eq=False)
class Matrix:
    """A weight [out, in / cells, \\*kernel]: row o reads the slots of its cell only.

    Attributes:
        parameter: Its name.
        rows: Slots of its rows, consecutive.
        columns: All slots that it reads, consecutive; those of cell k are the k-th part.
        cells: Groups of the convolution; 1 for one that reads everything.
    """

    parameter: str
    rows: Slots
    columns: Slots
    cells: int


@dataclass(eq=False)
class Ties:
    """What the laws of a graph's operations say, gathered.

    Attributes:
        graph: The graph.
        starts: First slot of each site that has channels.
        num_slots: How many there are in all.
        allowed: [num_slots], what each may be multiplied with, as :data:`NONZERO`.
        permuting: Pairs (slots, slots) that permute together, a pair of arrays for each tie.
        scaling: Those among them that share their scalars too.
        marks: (slots, marks): slots of different marks are not exchanged.
        uses: How the parameters' axes follow the slots.
        num_marks: Marks given so far.
        num_fixed: Slots fixed so far, each as often as it was.
    """

    graph: Graph
    starts: dict[str, int] = field(default_factory=dict)
    num_slots: int = 0
    permuting: list[tuple[Slots, Slots]] = field(default_factory=list)
    scaling: list[tuple[Slots, Slots]] = field(default_factory=list)
    marks: list[tuple[Slots, Slots]] = field(default_factory=list)
    uses: list[AlongAxis | Matrix] = field(default_factory=list)
    num_marks: int = 0
    num_fixed: int = 0

    def __post_init__(self) -> None:
        for name, site in self.graph.sites.items():
            if site.channel_axis is not None:
                self.starts[name] = self.num_slots
                self.num_slots += site.shape[site.channel_axis]
        self.allowed = np.full(self.num_slots, NONZERO, dtype=np.uint8)
        for name in self.starts:
            slots = self.slots(name)
            self.mark(slots, np.zeros(len(slots), dtype=np.int64))

    def slots(self, site: str) -> Slots:
        """A site's slots in order; none where it has no channel axis."""
        if site not in self.starts:
            return np.empty(0, dtype=np.int64)
        found = self.graph.sites[site]
        assert found.channel_axis is not None
        return self.starts[site] + np.arange(found.shape[found.channel_axis])

    def tie(self, first: Slots, second: Slots, *, scaled: bool) -> None:
        """Slots that permute together, one of each array in turn; with ``scaled`` they also share their scalars."""
        self.permuting.append((first, second))
        if scaled:
            self.scaling.append((first, second))

    def allow(self, slots: Slots, allowed: int) -> None:
        """Slots that may be multiplied with no more than this."""
        self.allowed[slots] &= allowed

    def mark(self, slots: Slots, marks: Slots) -> None:
        """Slots may be exchanged only where these marks (from 0) are equal."""
        self.marks.append((slots, self.num_marks + marks))
        self.num_marks += int(marks.max(initial=-1)) + 1

    def fix(self, slots: Slots) -> None:
        """Slots that neither move nor are multiplied."""
        self.num_fixed += len(slots)
        self.mark(slots, np.arange(len(slots)))
        self.allow(slots, UNSCALED)
