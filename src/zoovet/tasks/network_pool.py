"""NetworkPool: stored networks of several specs in memory, ready to be drawn from step after step."""

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
    """Some networks of a pool, sorted by spec.

    Attributes:
        networks: One entry a spec that occurs.
        indices: int64 [B], which networks of the pool they are, in the order of ``networks``.
        evidence: One entry a spec, what was found out about its networks, where the pool has it.
    """

    networks: list[Networks]
    indices: Tensor
    evidence: list[Evidence] | None = None

    @property
    def sizes(self) -> list[int]:
        """How many networks of each spec there are."""
        return [len(networks) for networks in self.networks]

    def of_share(self, share: Share) -> Batch:
        """Some of the networks, sorted as before."""
        evidence = None if self.evidence is None else share.of(self.evidence, self.sizes)
        return Batch(share.of(self.networks, self.sizes), self.indices[share.places], evidence)


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkPool:
    """Networks of several specs; what is known of each of them is added by the classes that inherit from this one.

    Attributes:
        network_ids: [n] names.
        specs: The specs that occur.
        weights: For each spec its networks' flat weights, float32 [networks, parameters].
        spec_of: int64 [n], which spec each network has.
        row_of: int64 [n], which row of that spec's weights it is.
        base_of: int64 [n], which base it descends from.
        num_left_out: Networks of the split that are not here.
    """

    network_ids: tuple[str, ...]
    specs: tuple[Graph, ...]
    weights: tuple[Tensor, ...]
    spec_of: Tensor
    row_of: Tensor
    base_of: Tensor
    num_left_out: int = 0

    @staticmethod
    def stored(zoo: Zoo) -> dict[str, Any]:
        """The fields above, but for ``num_left_out``, with all of a zoo's networks read into memory."""
        spec_of, row_of = np.zeros(len(zoo), dtype=np.int64), np.zeros(len(zoo), dtype=np.int64)
        batches = zoo.batches_by_spec() if len(zoo) else []
        for spec_index, (networks, places) in enumerate(batches):
            spec_of[places], row_of[places] = spec_index, np.arange(len(networks))
        return {
            "network_ids": tuple(map(str, zoo.column("network_id"))),
            "specs": tuple(networks.graph for networks, _ in batches),
            "weights": tuple(networks.flat() for networks, _ in batches),
            "spec_of": torch.from_numpy(spec_of),
            "row_of": torch.from_numpy(row_of),
            "base_of": torch.from_numpy(zoo.column("base_id").astype(np.int64)),
        }

    def __len__(self) -> int:
        return len(self.network_ids)

    def batch(self, indices: Tensor) -> Batch:
        """The networks at ``indices`` (int64 [B], on the CPU), sorted by spec."""
        spec_of, rows = self.spec_of[indices], self.row_of[indices]
        networks, order = [], []
        for spec_index, (spec, weights) in enumerate(zip(self.specs, self.weights, strict=True)):
            positions = torch.nonzero(spec_of == spec_index).flatten()
            if len(positions):
                networks.append(Networks.from_flat(spec, weights[rows[positions].to(weights.device)]))
                order.append(positions)
        return Batch(networks, indices[torch.cat(order)] if order else indices)

    def everything(self) -> Batch:
        """All networks, sorted by spec."""
        return self.batch(torch.arange(len(self)))

    def mapped(self, change: Callable[[Networks], Networks]) -> Self:
        """The same pool with other weights; ``change`` keeps the spec and the order of the networks it is given."""
        changed = [change(Networks.from_flat(*pair)) for pair in zip(self.specs, self.weights, strict=True)]
        return replace(self, weights=tuple(networks.flat() for networks in changed))

    def to(self, device: torch.device) -> Self:
        """The same pool with its weights on another device; indices stay on the CPU."""
        return replace(self, weights=tuple(weights.to(device) for weights in self.weights))

    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal of the networks, their names and what is known of them."""
        digest = hashlib.sha256("\n".join(self.network_ids).encode())
        for spec, weights in zip(self.specs, self.weights, strict=True):
            digest.update(spec.graph_id.encode() + weights.cpu().numpy().tobytes())
        digest.update(self.spec_of.numpy().tobytes() + self._known().numpy().tobytes())
        return digest.hexdigest()

    def _known(self) -> Tensor:
        """What the fingerprint covers beside the networks: [n]."""
        return self.base_of
