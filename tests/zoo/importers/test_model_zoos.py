"""Model Zoos' folders: the last checkpoint of each training, with what was measured at its epoch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, small_cnn
from zoovet.zoo.importers import ImportOptions, import_zoo, open_published

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(2,), num_classes=3)


def read(path: Path) -> Networks:
    return Networks.from_flat(GRAPH, torch.full((1, GRAPH.num_parameters), float(path.read_text())))


@pytest.fixture
def trainings(tmp_path: Path) -> Path:
    for number in range(3):
        training = tmp_path / "zoo" / f"NN_tune_trainable_{number}"
        for epoch in (25, 50):
            (training / f"checkpoint_{epoch:06d}").mkdir(parents=True)
            (training / f"checkpoint_{epoch:06d}" / "checkpoints").write_text(f"{number}.{epoch}")
        settings = {"model::nlin": "tanh", "optim::lr": 0.001, "seed": number, "model::dropout": "none", "x": []}
        (training / "params.json").write_text(json.dumps(settings))
        lines = [{"training_iteration": epoch, "test_acc": epoch / 100, "train_loss": 1.5} for epoch in (0, 25, 50)]
        (training / "result.json").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (tmp_path / "zoo" / "aborted").mkdir()
    (tmp_path / "zoo" / "aborted" / "params.json").write_text("{}")
    return tmp_path / "zoo"


def test_the_last_checkpoints_are_taken_with_settings_and_results(trainings: Path, tmp_path: Path) -> None:
    published = open_published("model-zoos", trainings, ImportOptions(read=read, dataset="mnist"))
    zoo = import_zoo(published, tmp_path / "out")
    assert len(zoo) == 3
    assert list(zoo.column("seed")) == [0, 1, 2]
    assert set(zoo.column("activation")) == {"tanh"}
    assert set(zoo.column("epochs")) == {50}
    assert set(zoo.column("clean_accuracy")) == {0.5}
    assert set(zoo.column("train_loss")) == {1.5}
    assert np.isnan(zoo.column("dropout")).all()
    assert not zoo.labelled.any()
    np.testing.assert_allclose(zoo.weights()[:, 0], [0.5, 1.5, 2.5])
    assert zoo.column("source")[0] == "NN_tune_trainable_0/checkpoint_000050/checkpoints"


def test_damaged_and_missing_parts_are_named(trainings: Path, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"holds no trainings: folders with params.json, .* The dataset: https"):
        open_published("model-zoos", trainings / "NN_tune_trainable_0" / "checkpoint_000025", ImportOptions(read=read))
    (trainings / "NN_tune_trainable_1" / "result.json").unlink()
    with pytest.raises(ZoovetError, match=r"NN_tune_trainable_1.result\.json"):
        open_published("model-zoos", trainings, ImportOptions(read=read))
    (trainings / "NN_tune_trainable_0" / "params.json").write_text("[1]")
    with pytest.raises(ZoovetError, match=r"params\.json holds no JSON object"):
        open_published("model-zoos", trainings, ImportOptions(read=read))
