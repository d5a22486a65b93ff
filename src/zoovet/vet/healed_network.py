"""A network after its repair."""

from __future__ import annotations

from dataclasses import dataclass

from zoovet.vet.network import Network
from zoovet.vet.stranger_healer import Healing

__all__ = ["HealedNetwork"]


@dataclass(frozen=True, eq=False, kw_only=True)
class HealedNetwork(Network):
    """A network after its repair: the same graph, names and input scaling, other numbers.

    Attributes:
        change: Norm of the change of its weights over their norm.
        model: The shipped model whose repairer edited it; ``None`` for one that was given, or where triggers were
            unlearned.
        healing: Where no repairer knew it: what was done, and what came of it.
    """

    change: float
    model: str | None
    healing: Healing | None = None
