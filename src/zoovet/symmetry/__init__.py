"""What may change in a network's weights without changing its function."""

from __future__ import annotations

from zoovet.symmetry.actions import Action, random_action
from zoovet.symmetry.canonical import canonicalize
from zoovet.symmetry.checks import (
    Deviations,
    assert_equivariant,
    assert_invariant,
    deviation_equivariant,
    deviation_invariant,
)
from zoovet.symmetry.graph_symmetry import GraphSymmetry, Symmetry, graph_symmetry
from zoovet.symmetry.normal_forms import normal_scales, normalizing_action
from zoovet.symmetry.phases import PhaseShift, random_phase_shift
from zoovet.symmetry.random_chains import random_chain
from zoovet.symmetry.random_graphs import random_graph
from zoovet.symmetry.random_networks import random_networks

__all__ = [
    "Action",
    "Deviations",
    "GraphSymmetry",
    "PhaseShift",
    "Symmetry",
    "assert_equivariant",
    "assert_invariant",
    "canonicalize",
    "deviation_equivariant",
    "deviation_invariant",
    "graph_symmetry",
    "normal_scales",
    "normalizing_action",
    "random_action",
    "random_chain",
    "random_graph",
    "random_networks",
    "random_phase_shift",
]
