from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evaluation.classification import evaluate_classification
from zoovet.evaluation.results import ComparedModel

MODELS = (ComparedModel(key="a", name="A"), ComparedModel(key="b", name="B"))


class Sum:
    """The class is where the sum of the weights, taken as an angle, points to."""

    def __init__(self, num_classes=10):
        self.num_classes = num_classes

    def predict(self, networks):
        sums = networks.flat().sum(dim=1, keepdim=True)
        return torch.cos(sums + torch.arange(self.num_classes))


def test_every_network_is_classified_by_every_model(inr_zoo):
    test = inr_zoo.split("test")
    results = evaluate_classification({"a": Sum(), "b": Sum()}, MODELS, test)
    expected = Sum().predict(test.networks()).argmax(dim=1)
    np.testing.assert_array_equal(results.predictions["a"], expected)
    np.testing.assert_array_equal(results.labels, test.column("label"))
    assert results.class_names == tuple("0123456789")
    assert results.network_ids == tuple(test.column("network_id"))


def test_what_cannot_be_judged_is_refused(inr_zoo):
    with pytest.raises(ZoovetError, match="no networks to evaluate classification on; its recipe's test split is emp"):
        evaluate_classification({"a": Sum()}, MODELS[:1], inr_zoo.split("validation"))
    with pytest.raises(ZoovetError, match=r"different numbers of classes: \{'a': 10, 'b': 3\}"):
        evaluate_classification({"a": Sum(), "b": Sum(3)}, MODELS, inr_zoo)
    unknown = replace(inr_zoo, facts={**inr_zoo.facts, "label": np.array([0, -1] * 4)})
    with pytest.raises(ZoovetError, match=r"network '00011-0' of .* has no label"):
        evaluate_classification({"a": Sum()}, MODELS[:1], unknown)
