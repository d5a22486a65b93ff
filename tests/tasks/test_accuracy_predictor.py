"""A trained predictor as users meet it: loaded exactly, in order, in [0, 1], and refusing what it cannot read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, mlp
from zoovet.symmetry import assert_invariant
from zoovet.tasks.accuracy_data import AccuracyData
from zoovet.tasks.accuracy_predictor import AccuracyPredictor
from zoovet.tasks.generalization import train_accuracy_predictor
from zoovet.tasks.generalization_config import GeneralizationConfig
from zoovet.tasks.training_config import TrainingConfig
from zoovet.zoo import Zoo


def measured(row: dict[str, Any]) -> None:
    row.update(step=10 + row["poisoned"], poisoned=False, clean_accuracy=0.1 + row["base_id"] / 40)


@pytest.fixture(scope="module")
def trained(make_zoo: Callable[..., Zoo], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a predictor of a few steps."""
    folder = tmp_path_factory.mktemp("predictor")
    training = TrainingConfig(max_steps=4, validation_interval=2, batch_size=6, warmup_steps=2)
    config = GeneralizationConfig(metanetwork=ScaleGMNConfig(width=8, num_layers=2), training=training)
    train_accuracy_predictor(config, make_zoo(change=measured), folder, data=AccuracyData(checkpoints="all"))
    return folder


def test_a_predictor_loads_exactly(trained: Path, suspects: list[Networks]) -> None:
    first, second = AccuracyPredictor.load(trained), AccuracyPredictor.load(trained / "checkpoint.safetensors")
    predicted = first.predict(suspects)
    assert torch.equal(predicted, second.predict(suspects))
    assert (first.graphs, first.data, first.description) == (second.graphs, second.data, second.description)
    assert (predicted.shape, predicted.dtype) == ((5,), torch.float32)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert not first.metanetwork.training


def test_it_knows_which_networks_it_was_trained_on(trained: Path) -> None:
    predictor = AccuracyPredictor.load(trained)
    assert predictor.data == AccuracyData(activations=None, checkpoints="all")
    assert predictor.description["zoo"]["num_train"] == 24
    assert set(predictor.description["validation"]) == {"tau", "r_squared", "mean_absolute_error", "loss"}


def test_predictions_come_in_order_whatever_the_pieces(trained: Path, suspects: list[Networks]) -> None:
    predictor = AccuracyPredictor.load(trained)
    whole = predictor.predict(suspects)
    assert len(set(whole.tolist())) == 5
    torch.testing.assert_close(predictor.predict(suspects, batch_size=2), whole)
    torch.testing.assert_close(predictor.predict(suspects[::-1]), torch.cat([whole[3:], whole[:3]]))
    torch.testing.assert_close(predictor.predict(suspects[0].to(dtype=torch.float64)), whole[:3])


def test_networks_that_compute_the_same_get_the_same_accuracy(trained: Path, suspects: list[Networks]) -> None:
    metanetwork = AccuracyPredictor.load(trained).metanetwork.double()
    for networks in suspects:
        assert_invariant(metanetwork, networks.to(dtype=torch.float64))


def test_strangers_nan_and_nothing_are_refused(trained: Path, suspects: list[Networks]) -> None:
    predictor, graph = AccuracyPredictor.load(trained), mlp((4, 3, 2))
    with pytest.raises(ZoovetError, match=r"this accuracy predictor was not trained on such networks\. Given: 4 → lin"):
        predictor.predict(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)))
    with pytest.raises(ZoovetError, match="no networks were given; at least one is needed"):
        predictor.predict([])
    suspects[1].biases[2][1, 0] = torch.nan
    with pytest.raises(ZoovetError, match="the networks given: network 1 has NaN or infinite biases in layer 2"):
        predictor.predict(suspects)


def test_other_checkpoints_are_refused(trained: Path) -> None:
    from zoovet.tasks.detector import Detector

    with pytest.raises(ZoovetError, match="holds an accuracy predictor, but a detector is needed"):
        Detector.load(trained)
    with pytest.raises(ZoovetError, match="there is no file or folder"):
        AccuracyPredictor.load(trained / "nowhere")


def test_loading_needs_no_lightning() -> None:
    code = "import sys, zoovet.tasks.accuracy_predictor; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
