"""Architectures by name: a state dict's graph is found among them where names and shapes fit."""

from __future__ import annotations

from zoovet.architectures.family import Candidate, Family, OpenArchitecture
from zoovet.architectures.names import ARCHITECTURES, require_known
from zoovet.architectures.reading import NAMING_ASKED_FOR, ReadModule, match, read_module

__all__ = [
    "ARCHITECTURES",
    "NAMING_ASKED_FOR",
    "Candidate",
    "Family",
    "OpenArchitecture",
    "ReadModule",
    "match",
    "read_module",
    "require_known",
]
