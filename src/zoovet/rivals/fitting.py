"""What rival detectors have in common: the networks they are fitted on, and how their threshold is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from zoovet.networks import Networks
from zoovet.tasks.detection import accuracy_threshold
from zoovet.tasks.population import Population, load_populations
from zoovet.zoo import Zoo

__all__ = ["LabelledNetworks", "RivalDetector", "chosen_threshold", "training_and_validation"]


class RivalDetector(Protocol):
    """A detector that a metanetwork is compared with: one class with ``fit`` and ``score``.

    Attributes:
        threshold: Score from which a network is flagged; chosen on validation networks.
    """

    @property
    def threshold(self) -> float:
        """Score from which a network is flagged."""

    @classmethod
    def fit(cls, zoo: Zoo, *, seed: int = 0) -> Self:
        """Fit on a zoo's training split, tuned on its validation split; the test split is not read."""

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Higher for networks that are more likely trojaned: float32 [B], in the order of the networks."""


@dataclass(frozen=True)
class LabelledNetworks:
    """Networks sorted by spec, with what they are.

    Attributes:
        networks: A batch a spec.
        trojaned: bool [n], in the order of the batches.
    """

    networks: list[Networks]
    trojaned: Tensor

    @classmethod
    def of(cls, population: Population) -> LabelledNetworks:
        """All networks of a population."""
        batch = population.batch(torch.arange(len(population)))
        return cls(batch.networks, population.trojaned[batch.indices])


def training_and_validation(zoo: Zoo) -> tuple[LabelledNetworks, LabelledNetworks]:
    """The labelled networks of a zoo's training and validation splits.

    Raises:
        ZoovetError: The zoo has no poisoned networks, or a split lacks healthy or trojaned ones.
    """
    train, validation = load_populations(zoo)
    return LabelledNetworks.of(train), LabelledNetworks.of(validation)


def chosen_threshold(scores: Tensor, validation: LabelledNetworks) -> float:
    """The threshold of the highest accuracy on the validation networks, given their scores."""
    return accuracy_threshold(scores, validation.trojaned)[0]
