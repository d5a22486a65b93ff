"""StatNN as a predictor of test accuracies: gradient-boosted trees on weight statistics, tuned on validation networks.

Source: Unterthiner et al. 2020, *Predicting Neural Network Accuracy from Weights*, sections 4.2 (statistics) and 5
(gradient-boosted trees as the best of their predictors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.metanets.statnn import tree_features
from zoovet.networks import Networks
from zoovet.tasks.accuracy_data import AccuracyData, load_accuracies
from zoovet.tasks.labelled import LabelledPopulation
from zoovet.zoo import Zoo

__all__ = ["StatNNRegressor", "StatNNRegressorConfig"]

_STEP = 10
"""Trees between two numbers of trees that are compared."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StatNNRegressorConfig:
    """Settings of the trees; where several are listed, validation networks choose.

    Attributes:
        num_trees: Most trees to grow; how many are used is chosen too.
        max_leaf_nodes: Leaves of a tree, at least 2 each.
        min_samples_leaf: Networks in a leaf, at least 1 each.
        learning_rates: Weight of each tree, above 0 each.
        max_features: Share of the statistics that a split chooses among, above 0 and at most 1 each.
        seed: Seed of the trees.

    Raises:
        ZoovetError: A value out of its range, or nothing to choose from.
    """

    num_trees: int = 600
    max_leaf_nodes: tuple[int, ...] = (8, 16, 31)
    min_samples_leaf: tuple[int, ...] = (5, 20)
    learning_rates: tuple[float, ...] = (0.05, 0.1)
    max_features: tuple[float, ...] = (0.3, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_leaf_nodes", "min_samples_leaf", "learning_rates", "max_features"):
            if not getattr(self, name):
                raise ZoovetError(f"{name} must list at least one value")
        if self.num_trees < 1:
            raise ZoovetError(f"num_trees must be at least 1, got {self.num_trees}")
        if min(self.max_leaf_nodes) < 2 or min(self.min_samples_leaf) < 1:
            raise ZoovetError(
                f"max_leaf_nodes must be at least 2 and min_samples_leaf at least 1, got {self.max_leaf_nodes} and "
                f"{self.min_samples_leaf}"
            )
        if not min(self.learning_rates) > 0 or not 0 < min(self.max_features) <= max(self.max_features) <= 1:
            raise ZoovetError(
                f"learning_rates must be above 0 and max_features above 0 and at most 1, got {self.learning_rates} and "
                f"{self.max_features}"
            )


@dataclass(frozen=True)
class StatNNRegressor:
    """Gradient-boosted trees from weight statistics to a test accuracy.

    Attributes:
        trees: Fitted.
        num_trees: How many of them are used.
        validation_tau: Kendall's τ on the validation networks that chose settings and number.
    """

    trees: HistGradientBoostingRegressor
    num_trees: int
    validation_tau: float

    @classmethod
    def fit(
        cls, zoo: Zoo, data: AccuracyData | None = None, config: StatNNRegressorConfig | None = None
    ) -> StatNNRegressor:
        """Fit on a zoo's training split; validation chooses the trees' settings and number, by Kendall's τ.

        Args:
            zoo: The zoo, opened; its test split is not read.
            data: Which of its networks count; the defaults where left out.
            config: Settings of the trees; the defaults where left out.

        Raises:
            ZoovetError: The zoo has no test accuracies or not enough networks, or networks with different numbers of
                layers.
        """
        config = config or StatNNRegressorConfig()
        populations = load_accuracies(zoo, data or AccuracyData())
        (features, accuracies), (held_features, held_accuracies) = map(_features_and_accuracies, populations)
        best: StatNNRegressor | None = None
        for leaves, smallest, rate, share in product(
            config.max_leaf_nodes, config.min_samples_leaf, config.learning_rates, config.max_features
        ):
            trees = HistGradientBoostingRegressor(
                max_iter=config.num_trees,
                max_leaf_nodes=leaves,
                min_samples_leaf=smallest,
                learning_rate=rate,
                max_features=share,
                early_stopping=False,
                random_state=config.seed,
            ).fit(features, accuracies)
            number, tau = _best_number(trees, held_features, held_accuracies)
            if best is None or tau > best.validation_tau:
                best = cls(trees, number, tau)
        assert best is not None  # every list has an entry
        return best

    def predict(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Accuracies in [0, 1]: float32 [B], in the order of the networks.

        Raises:
            ZoovetError: Networks with another number of layers than those it was fitted on.
        """
        features = tree_features(networks)
        if features.shape[1] != self.trees.n_features_in_:
            raise ZoovetError(
                f"this StatNN was fitted on networks with {self.trees.n_features_in_} statistics, got some with "
                f"{features.shape[1]}: they have another number of layers"
            )
        stages = self.trees.staged_predict(features)
        predicted = next(stage for number, stage in enumerate(stages, start=1) if number == self.num_trees)
        return torch.from_numpy(np.clip(predicted, 0.0, 1.0).astype(np.float32))


def _features_and_accuracies(population: LabelledPopulation) -> tuple[Floats, Floats]:
    batch = population.everything()
    return tree_features(batch.networks), population.labels[batch.indices].double().numpy()


def _best_number(trees: HistGradientBoostingRegressor, features: Floats, accuracies: Floats) -> tuple[int, float]:
    """The number of trees (a multiple of ten, or all) of the highest Kendall's τ, and that τ."""
    best, best_tau = trees.n_iter_, -1.0
    for number, predicted in enumerate(trees.staged_predict(features), start=1):
        if number % _STEP and number != trees.n_iter_:
            continue
        tau = float(kendalltau(predicted, accuracies).statistic) if np.ptp(predicted) > 0 else 0.0
        if tau > best_tau:
            best, best_tau = number, tau
    return best, best_tau
