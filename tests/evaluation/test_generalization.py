from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evaluation.generalization import evaluate_generalization
from zoovet.evaluation.results import ComparedModel

MODELS = (ComparedModel(key="a", name="A"),)


class Mean:
    def predict(self, networks):
        return torch.sigmoid(networks.flat().mean(dim=1))


def test_every_network_is_predicted(accuracy_zoo):
    results = evaluate_generalization({"a": Mean()}, MODELS, accuracy_zoo)
    np.testing.assert_allclose(results.predictions["a"], Mean().predict(accuracy_zoo.networks()), rtol=1e-6)
    np.testing.assert_array_equal(results.accuracies, accuracy_zoo.column("clean_accuracy"))
    assert results.activations == ("relu",) * 6
    assert results.dataset == "digits"


def test_what_cannot_be_judged_is_refused(accuracy_zoo):
    facts = {**accuracy_zoo.facts, "clean_accuracy": np.array([0.1, np.nan] * 3)}
    with pytest.raises(ZoovetError, match=r"network '00000-00020' of .* has no clean_accuracy"):
        evaluate_generalization({"a": Mean()}, MODELS, replace(accuracy_zoo, facts=facts))
    with pytest.raises(ZoovetError, match="no networks to evaluate generalization on"):
        evaluate_generalization({"a": Mean()}, MODELS, accuracy_zoo.select([]))
