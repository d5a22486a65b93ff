"""Scoring networks that no detector has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evaluation.results import DetectionResults
from zoovet.evaluation.split_pass import by_network, require_networks
from zoovet.evaluation.zoo_summary import activation_names
from zoovet.networks import Networks
from zoovet.zoo import Zoo

__all__ = ["NetworkScorer", "evaluate_detection"]


class NetworkScorer(Protocol):
    """What can be evaluated as a detector."""

    @property
    def threshold(self) -> float:
        """At or above it a network is flagged; chosen on validation networks."""

    def score(self, networks: Networks) -> Tensor:
        """Probability of a trojan, [B], for B networks of one graph."""


def evaluate_detection(
    detector: NetworkScorer, zoo: Zoo, *, rivals: Mapping[str, NetworkScorer], name: str = "ScaleGMN"
) -> DetectionResults:
    """Score every network of a zoo by the detector and its rivals.

    Args:
        detector: Fitted, threshold chosen.
        zoo: Networks held out from the training of all of them: ``zoo.split("test")``.
        rivals: Other detectors by name, fitted on the same training networks.
        name: The detector's name, for people.

    Raises:
        ZoovetError: The zoo is empty or has networks of one kind only, or a score is NaN.
    """
    require_networks(zoo, "detection")
    num_poisoned = int(zoo.column("poisoned").sum())
    if num_poisoned in (0, len(zoo)):
        raise ZoovetError(
            f"detection needs healthy and trojaned networks, but of the {len(zoo)} networks of {zoo.path} to evaluate "
            f"it on {num_poisoned} are trojaned; build a zoo whose recipe has poisoned networks"
        )
    return DetectionResults(
        detector=name,
        network_ids=tuple(zoo.column("network_id")),
        base_ids=zoo.column("base_id"),
        activations=activation_names(zoo),
        poisoned=zoo.column("poisoned"),
        asr=zoo.column("asr"),
        scores=_scores(detector, zoo),
        threshold=float(detector.threshold),
        rivals={rival: _scores(scorer, zoo) for rival, scorer in rivals.items()},
        rival_thresholds={rival: float(scorer.threshold) for rival, scorer in rivals.items()},
    )


def _scores(scorer: NetworkScorer, zoo: Zoo) -> NDArray[np.float64]:
    """[n] float64 in the zoo's order."""
    scores: NDArray[np.float64] = by_network(zoo, scorer.score).double().numpy()
    return scores
