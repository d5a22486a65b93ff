"""Test accuracies of digit networks: a zoo with checkpoints, predictors, and their report, by the command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import zoovet
from zoovet.cli.main import main
from zoovet.evaluation.results import GeneralizationResults
from zoovet.tasks import AccuracyPredictor

pytestmark = pytest.mark.slow

RunZoovet = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = """
kind: generalization
dataset: digits
num_bases: 30
channels: [4, 4]
train_images: 500
test_images: 200
measured_train_images: 100
batch_size: 32
base: {epochs: 3}
checkpoints: [1, 3]
split: {train: 0.5, validation: 0.2, test: 0.3}
bases_per_shard: 15
"""
TRAINING = """
task: generalization
data: {{zoo: {zoo}, checkpoints: all}}
metanetwork: {{width: 4, num_layers: 1}}
training: {{max_steps: 2, batch_size: 8, validation_interval: 2, warmup_steps: 1}}
"""


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory, run_zoovet: RunZoovet) -> Path:
    """A folder with a zoo of trainings, a predictor of all checkpoints, one of the last ones, and a report."""
    folder = tmp_path_factory.mktemp("trainings")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (folder / "training.yaml").write_text(TRAINING.format(zoo=folder / "zoo"), encoding="utf-8")
    train = ["train", str(folder / "training.yaml"), "--out"]
    assert main(["build", str(folder / "recipe.yaml"), "--out", str(folder / "zoo"), "--seed", "1"]) == 0
    assert main([*train, str(folder / "all")]) == 0
    assert main([*train, str(folder / "last"), "--data.checkpoints", "last"]) == 0
    done = run_zoovet("evaluate", folder / "all", "--out", folder / "report", "--seed", "2")
    assert done.returncode == 0, done.stderr
    assert "StatNN: Kendall's tau" in done.stdout
    return folder


def test_predictors_are_measured_on_test_networks_beside_statnn(trainings: Path) -> None:
    figures = json.loads((trainings / "report" / "figures.json").read_text(encoding="utf-8"))["generalization"]
    results = GeneralizationResults.load(trainings / "report" / "generalization.parquet")
    test = zoovet.Zoo.open(trainings / "zoo").split("test")
    assert list(figures["models"]) == ["scalegmn", "statnn"]
    assert figures["num_networks"] == len(test) == 18
    assert figures["num_bases"] == 9
    np.testing.assert_array_equal(results.accuracies, test.column("clean_accuracy"))
    for networks, places in test.batches_by_graph():
        predicted = AccuracyPredictor.load(trainings / "all").predict(networks)
        np.testing.assert_allclose(results.predictions["scalegmn"][places], predicted, rtol=1e-5)
    assert list(figures["groups"]) == ["all", "relu", "tanh"]
    page = (trainings / "report" / "report.html").read_text(encoding="utf-8")
    assert "60 networks on <strong>digits</strong> from 30 trainings" in page


def test_only_the_networks_that_a_predictor_counts_are_measured(trainings: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(trainings / "last"), "--out", str(tmp_path / "report")]) == 0
    figures = json.loads((tmp_path / "report" / "figures.json").read_text(encoding="utf-8"))
    assert figures["generalization"]["num_networks"] == 9


def test_predictors_of_different_networks_cannot_be_compared(
    trainings: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    train = ["train", str(trainings / "training.yaml"), "--out", str(tmp_path / "order"), "--data.checkpoints", "last"]
    assert main([*train, "--metanetwork.symmetry", "permutation"]) == 0
    complaint = refused("evaluate", trainings / "all", tmp_path / "order", "--out", tmp_path / "report")
    assert complaint.startswith("the accuracy predictors count different networks: ")
