"""Population: a split of a zoo in memory, ready to be drawn from step after step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import Trigger
from zoovet.networks import Networks, NetworkSpec
from zoovet.zoo import Zoo

__all__ = ["Batch", "Population", "load_populations"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some networks of a population, sorted by spec.

    Attributes:
        networks: One entry a spec that occurs.
        indices: int64 [B], which networks of the population they are, in the order of ``networks``.
        inverted: One entry a spec, what patch inversion found, where the population has it.
    """

    networks: list[Networks]
    indices: Tensor
    inverted: list[Tensor] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Population:
    """Healthy and trojaned networks of several specs.

    Attributes:
        network_ids: [n] names.
        specs: The specs that occur.
        weights: For each spec its networks' flat weights, float32 [networks, parameters].
        spec_of: int64 [n], which spec each network has.
        row_of: int64 [n], which row of that spec's weights it is.
        base_of: int64 [n], which base it descends from.
        trojaned: bool [n].
        sibling_of: int64 [n], the base's other descendant, or −1 where it is not here.
        triggers: [n] each network's trigger; a healthy one's is its sibling's, or ``None``.
        num_left_out: Poisoned networks of the split that are not here because their ASR is too low.
        inverted: For each spec what patch inversion found in its networks, or ``None``: computed once, since nothing in
            it is learned.
    """

    network_ids: tuple[str, ...]
    specs: tuple[NetworkSpec, ...]
    weights: tuple[Tensor, ...]
    spec_of: Tensor
    row_of: Tensor
    base_of: Tensor
    trojaned: Tensor
    sibling_of: Tensor
    triggers: tuple[Trigger | None, ...]
    num_left_out: int
    inverted: tuple[Tensor, ...] | None = None

    @classmethod
    def of_zoo(cls, zoo: Zoo, min_asr: float) -> Population:
        """Read a zoo's networks into memory.

        Args:
            zoo: The zoo, or one split of it.
            min_asr: ASR in [0, 1] from which a poisoned network counts as trojaned. Poisoned networks below it are
                neither healthy nor trojaned and are left out; their healthy siblings stay.
        """
        weak = zoo.column("poisoned") & ~(zoo.column("asr") >= min_asr)
        zoo, num_left_out = zoo.select(~weak), int(weak.sum())
        spec_of, row_of = np.zeros(len(zoo), dtype=np.int64), np.zeros(len(zoo), dtype=np.int64)
        batches = zoo.batches_by_spec() if len(zoo) else []
        for spec_index, (networks, places) in enumerate(batches):
            spec_of[places], row_of[places] = spec_index, np.arange(len(networks))
        return cls(
            network_ids=tuple(map(str, zoo.column("network_id"))),
            specs=tuple(networks.spec for networks, _ in batches),
            weights=tuple(networks.flat() for networks, _ in batches),
            spec_of=torch.from_numpy(spec_of),
            row_of=torch.from_numpy(row_of),
            base_of=torch.from_numpy(zoo.column("base_id").astype(np.int64)),
            trojaned=torch.from_numpy(zoo.column("poisoned").astype(bool)),
            sibling_of=torch.from_numpy(zoo.sibling_places()),
            triggers=tuple(zoo.trigger(place) for place in range(len(zoo))),
            num_left_out=num_left_out,
        )

    def __len__(self) -> int:
        return len(self.network_ids)

    @property
    def healthy_indices(self) -> Tensor:
        """int64, which networks are healthy."""
        return torch.nonzero(~self.trojaned).flatten()

    @property
    def trojaned_indices(self) -> Tensor:
        """int64, which networks are trojaned."""
        return torch.nonzero(self.trojaned).flatten()

    def batch(self, indices: Tensor) -> Batch:
        """The networks at ``indices`` (int64 [B], on the CPU), sorted by spec."""
        spec_of, rows = self.spec_of[indices], self.row_of[indices]
        networks, order, inverted = [], [], []
        for spec_index, (spec, weights) in enumerate(zip(self.specs, self.weights, strict=True)):
            positions = torch.nonzero(spec_of == spec_index).flatten()
            if len(positions):
                chosen = rows[positions].to(weights.device)
                networks.append(Networks.from_flat(spec, weights[chosen]))
                order.append(positions)
                if self.inverted is not None:
                    inverted.append(self.inverted[spec_index][chosen])
        return Batch(
            networks, indices[torch.cat(order)] if order else indices, None if self.inverted is None else inverted
        )

    def with_inversion(self, invert: Callable[[list[Networks]], list[Tensor]]) -> Population:
        """The same population with what ``invert`` finds in its networks, spec by spec."""
        networks = [Networks.from_flat(spec, weights) for spec, weights in zip(self.specs, self.weights, strict=True)]
        return replace(self, inverted=tuple(invert(networks)))

    def sibling_or_self(self, indices: Tensor) -> Tensor:
        """For each network its sibling, or the network itself where that is not here; both have the same spec."""
        siblings = self.sibling_of[indices]
        return torch.where((siblings >= 0) & (self.spec_of[siblings] == self.spec_of[indices]), siblings, indices)

    def to(self, device: torch.device) -> Population:
        """The same population with its weights on another device; indices stay on the CPU."""
        return replace(self, weights=tuple(weights.to(device) for weights in self.weights))

    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal of the networks, their names and labels."""
        digest = hashlib.sha256("\n".join(self.network_ids).encode())
        for spec, weights in zip(self.specs, self.weights, strict=True):
            digest.update(spec.spec_id.encode() + weights.cpu().numpy().tobytes())
        digest.update(self.spec_of.numpy().tobytes() + self.trojaned.numpy().tobytes())
        return digest.hexdigest()


def load_populations(zoo: Zoo) -> tuple[Population, Population]:
    """A zoo's training and validation networks; the test split is not read.

    Raises:
        ZoovetError: The recipe states no ASR from which a network counts as trojaned, the zoo has no poisoned
            networks, or one of the two splits lacks healthy or trojaned ones.
    """
    min_asr = zoo.recipe.get("min_asr")
    if not isinstance(min_asr, int | float) or isinstance(min_asr, bool):
        raise ZoovetError(
            f"the recipe of the zoo {zoo.path} must state min_asr, the ASR from which a poisoned network counts as "
            f"trojaned, as a number; got {min_asr!r}"
        )
    if not zoo.column("poisoned").any():
        raise ZoovetError(
            f"the zoo {zoo.path} has no poisoned networks, so there is nothing to tell apart or to repair; build one "
            f"from a recipe with `poisoned: true`"
        )
    populations = []
    for split in ("train", "validation"):
        population = Population.of_zoo(zoo.split(split), float(min_asr))
        for kind, indices in (("healthy", population.healthy_indices), ("trojaned", population.trojaned_indices)):
            if len(indices) == 0:
                raise ZoovetError(
                    f"the {split} split of the zoo {zoo.path} has no {kind} network ({population.num_left_out} "
                    f"poisoned ones with an ASR below {min_asr} do not count); build a larger zoo"
                )
        populations.append(population)
    return populations[0], populations[1]
