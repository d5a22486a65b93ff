from __future__ import annotations

import pytest

from zoovet.errors import ZoovetError
from zoovet.evaluation.detection import evaluate_detection
from zoovet.evaluation.metrics import auc
from zoovet.evaluation.statnn import fit_statnn
from zoovet.metanets.statnn import StatNNConfig

CONFIG = StatNNConfig(num_trees=5, min_samples_leaf=1)


def test_statnn_learns_from_train_and_sets_its_threshold_on_validation(small_zoo):
    # trojaned networks of this zoo have larger weights, which statistics see at once
    train, validation = small_zoo.select(small_zoo.column("base_id") < 4), small_zoo.split("validation")
    detector = fit_statnn(train, validation, CONFIG)
    results = evaluate_detection(detector, small_zoo.split("test"), rivals={})
    assert auc(results.scores, results.poisoned) == 1.0
    assert 0 < detector.threshold < 1


def test_splits_that_cannot_be_fitted_are_named(small_zoo):
    with pytest.raises(ZoovetError, match=r"a split of the zoo .* is empty"):
        fit_statnn(small_zoo, small_zoo.select([]), CONFIG)
    healthy = small_zoo.select(~small_zoo.column("poisoned"))
    with pytest.raises(ZoovetError, match="must hold both 0 and 1"):
        fit_statnn(healthy, small_zoo, CONFIG)
