"""Whether networks are like those that a detector or a repairer was trained on: in-distribution scores.

A metanetwork answers for whatever it is given, and far from its training networks the answer is worth nothing. So the
distance of a network's invariant statistics from those of the training networks is compared with the distances of
networks that were drawn as these were.

Sources: Lee et al. 2018, *A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
Attacks* (the Mahalanobis distance, there of a classifier's features); Bates et al. 2023, *Testing for outliers with
conformal p-values*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks
from zoovet.tasks.invariant_statistics import PARTS, invariant_statistics

__all__ = ["LEVEL", "GraphDistribution", "PartDistribution", "TrainingDistribution"]

LEVEL = 0.01
"""Share of networks like the training networks that are taken for out of distribution."""

_KNEE = 3.0
"""Deviations beyond which a statistic counts by its logarithm, so that no single one decides."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PartDistribution:
    """One part of the statistics, over the training networks of a graph.

    Attributes:
        mean, scale: float32 [F], of each statistic.
        precision: float32 [F, F], inverse covariance of the bounded deviations.
        unit: float32 [], the distance that a share :data:`LEVEL` of such networks exceeds.
    """

    mean: Tensor
    scale: Tensor
    precision: Tensor
    unit: Tensor

    def deviations(self, statistics: Tensor) -> Tensor:
        """Deviations from the mean, bounded: float64 [B, F] both."""
        away = (statistics - self.mean.double()) / self.scale.double()
        beyond = (away.abs() - _KNEE).clamp(min=0)
        return away.clamp(-_KNEE, _KNEE) + away.sign() * torch.log1p(beyond)

    def distance(self, statistics: Tensor) -> Tensor:
        """Mahalanobis distance in its unit: float64 [B, F] → [B]."""
        away = self.deviations(statistics)
        squares = (away @ self.precision.double() * away).mean(dim=1)
        return squares.clamp(min=0).sqrt() / self.unit.double()


@dataclass(frozen=True, eq=False, kw_only=True)
class GraphDistribution:
    """What the training networks of one graph look like.

    Attributes:
        parts: By the names of the statistics' parts.
        distances: float32 [n], ascending: of networks like them that did not take part in the fit.
        cutoff: float32 [], the distance beyond which a network is out of distribution; infinite where nothing can be
            said.
    """

    parts: Mapping[str, PartDistribution]
    distances: Tensor
    cutoff: Tensor

    def distance(self, networks: Networks) -> Tensor:
        """The farthest part's distance, float64 [B] on the CPU; about 1 for the farthest of the training networks."""
        statistics = invariant_statistics(networks)
        return torch.stack([part.distance(statistics[name]) for name, part in self.parts.items()]).amax(dim=0)

    def p_value(self, distance: Tensor) -> Tensor:
        """(1 + networks at least as far) / (1 + networks), float64 [B] → float32 [B]."""
        num_nearer = torch.searchsorted(self.distances.double(), distance)
        num_networks = len(self.distances)
        return ((1 + num_networks - num_nearer).double() / (1 + num_networks)).float()

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors: ``distances``, ``cutoff``, ``PART.mean``, …."""
        parts = {f"{part}.{name}": tensor for part, own in self.parts.items() for name, tensor in vars(own).items()}
        return {"distances": self.distances, "cutoff": self.cutoff, **parts}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], where: str) -> GraphDistribution:
        """Read what :meth:`to_tensors` gave.

        Args:
            tensors: By name.
            where: The file, for messages.

        Raises:
            ZoovetError: A tensor is missing, or its shape does not fit the others.
        """
        try:
            parts = {
                part: PartDistribution(
                    mean=tensors[f"{part}.mean"],
                    scale=tensors[f"{part}.scale"],
                    precision=tensors[f"{part}.precision"],
                    unit=tensors[f"{part}.unit"],
                )
                for part in PARTS
            }
            own = cls(parts=parts, distances=tensors["distances"], cutoff=tensors["cutoff"])
        except KeyError as error:
            raise ZoovetError(f"{where} is damaged: its training distribution lacks the tensor {error}") from None
        for name, part in parts.items():
            size = part.mean.numel()
            shapes = [tuple(tensor.shape) for tensor in (part.mean, part.scale, part.precision, part.unit)]
            if shapes != [(size,), (size,), (size, size), ()]:
                raise ZoovetError(f"{where} is damaged: its training distribution's {name} has the shapes {shapes}")
        return own


class TrainingDistribution:
    """What the training networks look like, graph by graph.

    Args:
        by_graph: Of every graph that was trained on.
    """

    def __init__(self, by_graph: Mapping[Graph, GraphDistribution]) -> None:
        self.by_graph = dict(by_graph)

    def score(self, networks: Sequence[Networks]) -> Tensor:
        """In-distribution scores: conformal p-values.

        Of networks drawn as the training networks were, about a share s has a score of at most s, down to 1 / (1 + n)
        for n networks to compare with.

        Args:
            networks: Batches of known graphs.

        Returns:
            float32 [B] in (0, 1], on the CPU, in the order of the networks.
        """
        return torch.cat([own.p_value(own.distance(batch)) for batch, own in self._pairs(networks)])

    def is_out(self, networks: Sequence[Networks]) -> Tensor:
        """Whether networks are out of distribution: bool [B]; those whose distance is not a number are.

        Of networks drawn as the training networks were, a share :data:`LEVEL` is: those whose score is at most that.
        Where there are too few networks to compare with for so small a score, those beyond all of them and beyond the
        distance that a log-normal distribution exceeds as rarely (a prediction limit by Student's t).

        Args:
            networks: Batches of known graphs.
        """
        return torch.cat([~(own.distance(batch) <= own.cutoff.double()) for batch, own in self._pairs(networks)])

    def _pairs(self, networks: Sequence[Networks]) -> Iterator[tuple[Networks, GraphDistribution]]:
        return ((batch, self.by_graph[batch.graph.architecture]) for batch in networks if len(batch))

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors: ``SPEC_ID.distances``, …."""
        return {
            f"{graph.graph_id}.{name}": tensor
            for graph, own in self.by_graph.items()
            for name, tensor in own.to_tensors().items()
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], graphs: Sequence[Graph], where: str) -> TrainingDistribution:
        """Read what :meth:`to_tensors` gave.

        Args:
            tensors: By name.
            graphs: All that must be there.
            where: The file, for messages.

        Raises:
            ZoovetError: A tensor is missing, or its shape does not fit the others.
        """
        by_graph = {}
        for graph in graphs:
            prefix = f"{graph.graph_id}."
            own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            by_graph[graph] = GraphDistribution.from_tensors(own, where)
        return cls(by_graph)
