"""Population: a split of a zoo in memory, ready to be drawn from step after step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence
from zoovet.images import Trigger
from zoovet.networks import Networks
from zoovet.tasks.network_pool import Batch, NetworkPool
from zoovet.zoo import Zoo

__all__ = ["Population", "load_populations"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Population(NetworkPool):
    """Healthy and trojaned networks of several graphs; left out are poisoned ones whose ASR is too low.

    Attributes:
        trojaned: bool [n].
        sibling_of: int64 [n], the base's other descendant, or −1 where it is not here.
        triggers: [n] each network's trigger; a healthy one's is its sibling's, or ``None``.
        evidence: For each graph what was found out about its networks, or ``None``: computed once, since nothing in it
            is learned.
    """

    trojaned: Tensor
    sibling_of: Tensor
    triggers: tuple[Trigger | None, ...]
    evidence: tuple[Evidence, ...] | None = None

    @classmethod
    def of_zoo(cls, zoo: Zoo, min_asr: float) -> Population:
        """Read a zoo's networks into memory.

        Args:
            zoo: The zoo, or one split of it.
            min_asr: ASR in [0, 1] from which a poisoned network counts as trojaned. Poisoned networks below it are
                neither healthy nor trojaned and are left out; their healthy siblings stay. Those whose ASR was
                never measured, as in imported zoos, count.
        """
        weak = zoo.column("poisoned") & (zoo.column("asr") < min_asr)
        zoo, num_left_out = zoo.select(~weak), int(weak.sum())
        return cls(
            **cls.stored(zoo),
            trojaned=torch.from_numpy(zoo.column("poisoned").astype(bool)),
            sibling_of=torch.from_numpy(zoo.sibling_places()),
            triggers=tuple(zoo.trigger(place) for place in range(len(zoo))),
            num_left_out=num_left_out,
        )

    @property
    def healthy_indices(self) -> Tensor:
        """int64, which networks are healthy."""
        return torch.nonzero(~self.trojaned).flatten()

    @property
    def trojaned_indices(self) -> Tensor:
        """int64, which networks are trojaned."""
        return torch.nonzero(self.trojaned).flatten()

    def batch(self, indices: Tensor) -> Batch:
        """The networks at ``indices`` (int64 [B], on the CPU), sorted by graph."""
        batch = super().batch(indices)
        if self.evidence is None:
            return batch
        parts = torch.split(batch.indices, [len(networks) for networks in batch.networks])
        tables = [self.evidence[int(self.graph_of[part[0]])] for part in parts]
        rows = [self.row_of[part].to(self.weights[0].device) for part in parts]
        return replace(batch, evidence=[table[some] for table, some in zip(tables, rows, strict=True)])

    def with_evidence(self, find_out: Callable[[list[Networks]], list[Evidence]]) -> Population:
        """The same population with what ``find_out`` says of its networks, graph by graph."""
        networks = [
            Networks.from_flat(graph, weights) for graph, weights in zip(self.graphs, self.weights, strict=True)
        ]
        return replace(self, evidence=tuple(find_out(networks)))

    def sibling_or_self(self, indices: Tensor) -> Tensor:
        """For each network its sibling, or the network itself where that is not here; both have the same graph."""
        siblings = self.sibling_of[indices]
        return torch.where((siblings >= 0) & (self.graph_of[siblings] == self.graph_of[indices]), siblings, indices)

    def _known(self) -> Tensor:
        return self.trojaned


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
    if not (zoo.labelled.any() and zoo.column("poisoned").any()):
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
