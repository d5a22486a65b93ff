"""NetworkPool: stored networks of several graphs in memory, ready to be drawn from step after step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from zoovet.evidence import Evidence
from zoovet.networks import Graph, Networks
from zoovet.tasks.shares import Share
from zoovet.zoo import Zoo

__all__ = ["Batch", "NetworkPool"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some networks of a pool, sorted by graph.

    Attributes:
        networks: One entry a graph that occurs.
        indices: int64 [B], which networks of the pool they are, in the order of ``networks``.
        evidence: One entry a graph, what was found out about its networks, where the pool has it.
    """

    networks: list[Networks]
    indices: Tensor
    evidence: list[Evidence] | None = None

    @property
    def sizes(self) -> list[int]:
        """How many networks of each graph there are."""
        return [len(networks) for networks in self.networks]

    def of_share(self, share: Share) -> Batch:
        """Some of the networks, sorted as before."""
        evidence = None if self.evidence is None else share.of(self.evidence, self.sizes)
        return Batch(share.of(self.networks, self.sizes), self.indices[share.places], evidence)


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkPool:
    """Networks of several graphs; what is known of each of them is added by the classes that inherit from this one.

    Attributes:
        network_ids: [n] names.
        graphs: The graphs that occur.
        weights: For each graph its networks' flat weights, float32 [networks, parameters].
        graph_of: int64 [n], which graph each network has.
        row_of: int64 [n], which row of that graph's weights it is.
        base_of: int64 [n], which base it descends from.
        num_left_out: Networks of the split that are not here.
    """

    network_ids: tuple[str, ...]
    graphs: tuple[Graph, ...]
    weights: tuple[Tensor, ...]
    graph_of: Tensor
    row_of: Tensor
    base_of: Tensor
    num_left_out: int = 0

    @staticmethod
    def stored(zoo: Zoo) -> dict[str, Any]:
        """The fields above, but for ``num_left_out``, with all of a zoo's networks read into memory."""
        graph_of, row_of = np.zeros(len(zoo), dtype=np.int64), np.zeros(len(zoo), dtype=np.int64)
        batches = zoo.batches_by_graph() if len(zoo) else []
        for graph_index, (networks, places) in enumerate(batches):
            graph_of[places], row_of[places] = graph_index, np.arange(len(networks))
        return {
            "network_ids": tuple(map(str, zoo.column("network_id"))),
            "graphs": tuple(networks.graph for networks, _ in batches),
            "weights": tuple(networks.flat() for networks, _ in batches),
            "graph_of": torch.from_numpy(graph_of),
            "row_of": torch.from_numpy(row_of),
            "base_of": torch.from_numpy(zoo.column("base_id").astype(np.int64)),
        }

    def __len__(self) -> int:
        return len(self.network_ids)

    def batch(self, indices: Tensor) -> Batch:
        """The networks at ``indices`` (int64 [B], on the CPU), sorted by graph."""
        graph_of, rows = self.graph_of[indices], self.row_of[indices]
        networks, order = [], []
        for graph_index, (graph, weights) in enumerate(zip(self.graphs, self.weights, strict=True)):
            positions = torch.nonzero(graph_of == graph_index).flatten()
            if len(positions):
                networks.append(Networks.from_flat(graph, weights[rows[positions].to(weights.device)]))
                order.append(positions)
        return Batch(networks, indices[torch.cat(order)] if order else indices)

    def everything(self) -> Batch:
        """All networks, sorted by graph."""
        return self.batch(torch.arange(len(self)))

    def mapped(self, change: Callable[[Networks], Networks]) -> Self:
        """The same pool with other weights; ``change`` keeps the graph and the order of the networks it is given."""
        changed = [change(Networks.from_flat(*pair)) for pair in zip(self.graphs, self.weights, strict=True)]
        return replace(self, weights=tuple(networks.flat() for networks in changed))

    def to(self, device: torch.device) -> Self:
        """The same pool with its weights on another device; indices stay on the CPU."""
        return replace(self, weights=tuple(weights.to(device) for weights in self.weights))

    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal of the networks, their names and what is known of them."""
        digest = hashlib.sha256("\n".join(self.network_ids).encode())
        for graph, weights in zip(self.graphs, self.weights, strict=True):
            digest.update(graph.graph_id.encode() + weights.cpu().numpy().tobytes())
        digest.update(self.graph_of.numpy().tobytes() + self._known().numpy().tobytes())
        return digest.hexdigest()

    def _known(self) -> Tensor:
        """What the fingerprint covers beside the networks: [n]."""
        return self.base_of
