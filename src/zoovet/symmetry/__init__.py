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
from zoovet.symmetry.graph_actions import GraphAction, random_graph_action
from zoovet.symmetry.graph_normal import normal_scales
from zoovet.symmetry.graph_samples import random_graph, random_graph_networks
from zoovet.symmetry.graph_symmetry import GraphSymmetry, graph_symmetry
from zoovet.symmetry.groups import Symmetry, group_symmetries, spec_symmetry
from zoovet.symmetry.phases import PhaseShift, random_phase_shift
from zoovet.symmetry.samples import random_networks, random_spec

__all__ = [
    "Action",
    "Deviations",
    "GraphAction",
    "GraphSymmetry",
    "PhaseShift",
    "Symmetry",
    "assert_equivariant",
    "assert_invariant",
    "canonicalize",
    "deviation_equivariant",
    "deviation_invariant",
    "graph_symmetry",
    "group_symmetries",
    "normal_scales",
    "random_action",
    "random_graph",
    "random_graph_action",
    "random_graph_networks",
    "random_networks",
    "random_phase_shift",
    "random_spec",
    "spec_symmetry",
]
