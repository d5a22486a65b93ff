from __future__ import annotations

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evaluation.detection import evaluate_detection


class FirstWeight:
    """Scores a network by its first weight."""

    threshold = 0.25

    def __init__(self):
        self.batches = []

    def score(self, networks):
        self.batches.append(networks)
        return networks.flat()[:, 0]


class Broken:
    threshold = 0.5

    def score(self, networks):
        return torch.full((len(networks),), torch.nan)


def test_scores_stand_in_the_zoos_order_whatever_the_spec(small_zoo):
    results = evaluate_detection(FirstWeight(), small_zoo, rivals={"other": FirstWeight()})
    first = np.array([float(small_zoo.weights()[place, 0]) for place in range(12)])
    assert results.network_ids == tuple(small_zoo.column("network_id"))
    assert results.scores == pytest.approx(first)
    assert results.rivals["other"] == pytest.approx(first)
    assert results.threshold == results.rival_thresholds["other"] == 0.25
    assert results.poisoned.tolist() == [False, True] * 6
    assert results.asr == pytest.approx(small_zoo.column("asr"))


def test_each_batch_is_of_one_spec(small_zoo):
    detector = FirstWeight()
    evaluate_detection(detector, small_zoo, rivals={})
    assert sorted(batch.graph.chain.activation for batch in detector.batches) == ["relu", "tanh"]


def test_an_empty_split_is_named(small_zoo):
    with pytest.raises(ZoovetError, match="has no networks to evaluate detection on"):
        evaluate_detection(FirstWeight(), small_zoo.select([]), rivals={})


def test_networks_of_one_kind_are_refused(small_zoo):
    healthy = small_zoo.select(~small_zoo.column("poisoned"))
    with pytest.raises(ZoovetError, match=r"of the 6 networks of .* 0 are trojaned"):
        evaluate_detection(FirstWeight(), healthy, rivals={})


def test_scores_that_are_no_numbers_are_refused(small_zoo):
    with pytest.raises(ZoovetError, match="scores of the network '00000-healthy' is NaN"):
        evaluate_detection(Broken(), small_zoo, rivals={})
