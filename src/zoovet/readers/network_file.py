"""What a file that says its network's graph was read as."""

from __future__ import annotations

from dataclasses import dataclass

from zoovet.networks.graph_batch import GraphNetworks

__all__ = ["NetworkFile"]


@dataclass(frozen=True, kw_only=True)
class NetworkFile:
    """One network from a file.

    Attributes:
        networks: Its graph and weights (B = 1).
        notes: What a person should know of how it was read, a line each; safe to show.
    """

    networks: GraphNetworks
    notes: tuple[str, ...] = ()
