"""StatNN as a detector to compare with: fitted on training networks, its threshold chosen on validation networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evaluation.metrics import best_threshold
from zoovet.metanets.statnn import StatNN, StatNNConfig
from zoovet.networks import Networks
from zoovet.zoo import Zoo

__all__ = ["StatNNDetector", "fit_statnn"]


@dataclass(frozen=True)
class StatNNDetector:
    """A fitted StatNN and the probability from which it flags a network."""

    statnn: StatNN
    threshold: float

    def score(self, networks: Networks) -> Tensor:
        """Probability of a trojan, float32 [B], for B networks of one spec."""
        return self.statnn.predict_proba(networks)


def fit_statnn(train: Zoo, validation: Zoo, config: StatNNConfig | None = None) -> StatNNDetector:
    """Fit StatNN to a zoo; validation chooses its trees and its threshold.

    Args:
        train: Networks to fit, healthy and trojaned: ``zoo.split("train")``.
        validation: Other networks, healthy and trojaned: ``zoo.split("validation")``.
        config: Settings of the trees; the defaults where left out.

    Raises:
        ZoovetError: Either is empty or holds networks of one kind only.
    """
    networks, labels = _batches(train)
    held_networks, held_labels = _batches(validation)
    statnn = StatNN(config).fit(networks, labels, (held_networks, held_labels))
    scores = statnn.predict_proba(held_networks)
    return StatNNDetector(statnn, best_threshold(scores.numpy(), held_labels.numpy()))


def _batches(zoo: Zoo) -> tuple[list[Networks], Tensor]:
    """The networks by spec, and which of them are poisoned: bool, in the same order."""
    if len(zoo) == 0:
        raise ZoovetError(f"StatNN needs training and validation networks, but a split of the zoo {zoo.path} is empty")
    batches = zoo.batches_by_spec()
    labels = [torch.from_numpy(zoo.column("poisoned")[places]) for _, places in batches]
    return [networks for networks, _ in batches], torch.cat(labels)
