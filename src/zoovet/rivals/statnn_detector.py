"""StatNN as a detector of trojaned networks, on the same training and validation networks as a metanetwork."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.metanets.statnn import StatNN, StatNNConfig
from zoovet.networks import Networks
from zoovet.tasks.detection import accuracy_threshold
from zoovet.tasks.population import Population, load_populations
from zoovet.zoo import Zoo

__all__ = ["StatNNDetector"]


@dataclass(frozen=True)
class StatNNDetector:
    """Gradient-boosted trees on weight statistics, with a threshold.

    Attributes:
        trees: Fitted.
        threshold: Probability from which a network is flagged; the most accurate one on validation networks.
    """

    trees: StatNN
    threshold: float

    @classmethod
    def fit(cls, zoo: Zoo, config: StatNNConfig | None = None) -> StatNNDetector:
        """Fit on a zoo's training split; validation chooses the trees' size and number, and the threshold.

        Args:
            zoo: The zoo, opened; its test split is not read.
            config: Settings of the trees; the defaults where left out.

        Raises:
            ZoovetError: The zoo has no poisoned networks, or a split lacks healthy or trojaned ones.
        """
        train, validation = map(_networks_and_labels, load_populations(zoo))
        trees = StatNN(config).fit(*train, validation)
        threshold, _ = accuracy_threshold(trees.predict_proba(validation[0]), validation[1])
        return cls(trees, threshold)

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Probability of a trojan: float32 [B], in the order of the networks."""
        return self.trees.predict_proba(networks)


def _networks_and_labels(population: Population) -> tuple[list[Networks], Tensor]:
    batch = population.batch(torch.arange(len(population)))
    return batch.networks, population.trojaned[batch.indices]
