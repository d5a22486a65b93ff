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
from zoovet.symmetry.groups import Symmetry, group_symmetries, spec_symmetry
from zoovet.symmetry.phases import PhaseShift, random_phase_shift
from zoovet.symmetry.samples import random_networks, random_spec

__all__ = [
    "Action",
    "Deviations",
    "PhaseShift",
    "Symmetry",
    "assert_equivariant",
    "assert_invariant",
    "canonicalize",
    "deviation_equivariant",
    "deviation_invariant",
    "group_symmetries",
    "random_action",
    "random_networks",
    "random_phase_shift",
    "random_spec",
    "spec_symmetry",
]
