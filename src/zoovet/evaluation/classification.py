"""Classifying INRs that no classifier has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evaluation.results import ClassificationResults, ComparedModel
from zoovet.evaluation.split_pass import by_network, require_networks
from zoovet.evaluation.zoo_summary import dataset_name
from zoovet.networks import Networks
from zoovet.tasks.edited_images import names_of_classes
from zoovet.zoo import Zoo

__all__ = ["NetworkClassifier", "evaluate_classification"]


class NetworkClassifier(Protocol):
    """What can be evaluated as a classifier."""

    def predict(self, networks: Networks) -> Tensor:
        """Logits [B, C] of B networks of one graph."""


def evaluate_classification(
    classifiers: Mapping[str, NetworkClassifier], models: Sequence[ComparedModel], zoo: Zoo
) -> ClassificationResults:
    """Classify every network of a zoo by several classifiers.

    Args:
        classifiers: Fitted, by the key of the model; all know the same classes.
        models: What each is called and what it cost, in the order of the comparison.
        zoo: Networks held out from the training of all of them: ``zoo.split("test")``.

    Raises:
        ZoovetError: The zoo is empty, a network has no label or one that the classifiers do not know, or they know
            different numbers of classes.
    """
    require_networks(zoo, "classification")
    labels = zoo.column("label")
    if (labels < 0).any():
        first = zoo.column("network_id")[int(np.argmax(labels < 0))]
        raise ZoovetError(f"the network {first!r} of {zoo.path} has no label, so nobody can say what is right")
    logits = {key: by_network(zoo, classifier.predict) for key, classifier in classifiers.items()}
    sizes = {key: given.shape[1] for key, given in logits.items()}
    if len(set(sizes.values())) > 1:
        raise ZoovetError(f"the classifiers know different numbers of classes: {sizes}; evaluate each by itself")
    dataset = dataset_name(zoo)
    return ClassificationResults(
        dataset=dataset,
        network_ids=tuple(zoo.column("network_id")),
        base_ids=zoo.column("base_id"),
        labels=labels,
        class_names=names_of_classes(zoo, dataset, next(iter(sizes.values()))),
        models=tuple(models),
        predictions={key: given.argmax(dim=1).numpy() for key, given in logits.items()},
    )
