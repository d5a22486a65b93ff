"""StatNN as a detector of trojaned networks, on the same training and validation networks as a metanetwork."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from zoovet.metanets.statnn import StatNN, StatNNConfig
from zoovet.networks import Networks
from zoovet.rivals.fitting import chosen_threshold, training_and_validation
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
        train, validation = training_and_validation(zoo)
        trees = StatNN(config).fit(train.networks, train.trojaned, (validation.networks, validation.trojaned))
        return cls(trees, chosen_threshold(trees.predict_proba(validation.networks), validation))

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Probability of a trojan: float32 [B], in the order of the networks."""
        return self.trees.predict_proba(networks)
