"""A linear classifier on sorted, standardized weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks
from zoovet.rivals.fitting import LabelledNetworks, chosen_threshold, training_and_validation
from zoovet.zoo import Zoo

__all__ = ["SortedWeightsDetector", "sorted_weights"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularization strengths that validation chooses from."""


@dataclass(frozen=True)
class SortedWeightsDetector:
    """Logistic regression on the sorted numbers of each layer, standardized over the training networks.

    One classifier a graph. Sorting makes it blind to permutations of neurons (and to much else). Source: Huster, Lin,
    Stefanescu, Sperry and Torr 2024, *Solving Trojan Detection Competitions with Linear Weight Classification*.

    Attributes:
        classifiers: By graph.
        threshold: Probability from which a network is flagged.
    """

    classifiers: dict[Graph, Pipeline]
    threshold: float

    @classmethod
    def fit(cls, zoo: Zoo, *, seed: int = 0) -> SortedWeightsDetector:
        """Fit on a zoo's training split; validation chooses the regularization and the threshold.

        Args:
            zoo: The zoo, opened; its test split is not read.
            seed: Has no effect: nothing is drawn.

        Raises:
            ZoovetError: The zoo has no poisoned networks, or a split lacks healthy or trojaned ones of a graph.
        """
        train, validation = training_and_validation(zoo)
        held_out = _by_graph(validation)
        classifiers = {}
        for graph, (features, trojaned) in _by_graph(train).items():
            if graph not in held_out or len(set(held_out[graph][1])) < 2 or len(set(trojaned)) < 2:
                raise ZoovetError(
                    f"training and validation networks of {graph.describe()} must be healthy and trojaned both; build "
                    "a larger zoo"
                )
            classifiers[graph] = _best_classifier(features, trojaned, *held_out[graph])
        fitted = cls(classifiers, 0.5)
        return cls(classifiers, chosen_threshold(fitted.score(validation.networks), validation))

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Probability of a trojan: float32 [B], in the order of the networks.

        Raises:
            ZoovetError: Networks of a graph that it was not fitted on.
        """
        scores = []
        for batch in [networks] if isinstance(networks, Networks) else networks:
            if batch.graph not in self.classifiers:
                raise ZoovetError(f"this detector was not fitted on networks of {batch.graph.describe()}")
            probabilities = self.classifiers[batch.graph].predict_proba(sorted_weights(batch))[:, 1]
            scores.append(torch.from_numpy(probabilities).float())
        return torch.cat(scores)


def sorted_weights(networks: Networks) -> NDArray[np.float64]:
    """The numbers of each weight and of each bias in ascending order, [B, P], for networks [B] of P parameters."""
    tensors = [tensor for pair in zip(networks.weights, networks.biases, strict=True) for tensor in pair]
    return torch.cat([tensor.flatten(1).sort(dim=1).values for tensor in tensors], dim=1).double().cpu().numpy()


def _by_graph(labelled: LabelledNetworks) -> dict[Graph, tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    labels = torch.split(labelled.trojaned, [len(batch) for batch in labelled.networks])
    return {
        batch.graph: (sorted_weights(batch), trojaned.numpy())
        for batch, trojaned in zip(labelled.networks, labels, strict=True)
    }


def _best_classifier(
    features: NDArray[np.float64],
    trojaned: NDArray[np.bool_],
    held_out: NDArray[np.float64],
    held_out_trojaned: NDArray[np.bool_],
) -> Pipeline:
    """The classifier of the highest AUC on held-out networks."""
    fitted = [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(features, trojaned)
        for strength in STRENGTHS
    ]
    return max(fitted, key=lambda one: float(roc_auc_score(held_out_trojaned, one.decision_function(held_out))))
