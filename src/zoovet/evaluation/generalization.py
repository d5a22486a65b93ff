"""Predicting the test accuracies of networks that no predictor has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evaluation.results import ComparedModel, GeneralizationResults
from zoovet.evaluation.split_pass import by_network, require_networks
from zoovet.evaluation.zoo_summary import activation_names, dataset_name
from zoovet.networks import Networks
from zoovet.zoo import Zoo

__all__ = ["AccuracyGuesser", "evaluate_generalization"]


class AccuracyGuesser(Protocol):
    """What can be evaluated as a predictor of test accuracies."""

    def predict(self, networks: Networks) -> Tensor:
        """Accuracies [B] in [0, 1] of B networks of one graph."""


def evaluate_generalization(
    predictors: Mapping[str, AccuracyGuesser], models: Sequence[ComparedModel], zoo: Zoo
) -> GeneralizationResults:
    """Predict the test accuracy of every network of a zoo by several predictors.

    Args:
        predictors: Fitted, by the key of the model.
        models: What each is called and what it cost, in the order of the comparison.
        zoo: Networks held out from the training of all of them: the test split, cut to the networks that count.

    Raises:
        ZoovetError: The zoo is empty, or the test accuracy of a network is not known.
    """
    require_networks(zoo, "generalization")
    accuracies = zoo.column("clean_accuracy")
    if np.isnan(accuracies).any():
        first = zoo.column("network_id")[int(np.argmax(np.isnan(accuracies)))]
        raise ZoovetError(f"the network {first!r} of {zoo.path} has no clean_accuracy, so nobody can say what is right")
    return GeneralizationResults(
        dataset=dataset_name(zoo),
        network_ids=tuple(zoo.column("network_id")),
        base_ids=zoo.column("base_id"),
        activations=activation_names(zoo),
        accuracies=accuracies,
        models=tuple(models),
        predictions={key: by_network(zoo, own.predict).double().numpy() for key, own in predictors.items()},
    )
