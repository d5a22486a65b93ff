"""INRs of digits: built, classified and edited from their weights, and reported, by the command."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import zoovet
from zoovet.cli.main import main
from zoovet.evaluation import results_json
from zoovet.evaluation.results import ClassificationResults, EditingResults

RECIPE = """
kind: inr
dataset: digits
num_images: 60
hidden: [6, 6]
w0: 10.0
steps: 100
learning_rate: 2e-3
images_per_shard: 30
split: {train: 0.5, validation: 0.2, test: 0.3}
"""
TRAINING = """
data: {{zoo: {zoo}}}
metanetwork: {{{metanetwork}}}
training: {{max_steps: 2, batch_size: 8, validation_interval: 2, warmup_steps: 1}}
"""
SCALEGMN = "width: 4, num_layers: 1, num_outputs: 10"
RUNS = {
    "gmn": ("classification", SCALEGMN, []),
    "turned": ("classification", SCALEGMN, ["--data.canonicalize", "true"]),
    "order": ("classification", SCALEGMN, ["--metanetwork.symmetry", "permutation"]),
    "flat": ("classification", "kind: flat_mlp, width: 8, num_layers: 1, num_outputs: 10", []),
    "editor": ("editing", "width: 4, num_layers: 1, output: weights", []),
    "order-editor": ("editing", "width: 4, num_layers: 1, output: weights, symmetry: permutation", []),
}


@pytest.fixture(scope="module")
def inrs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo of INRs, four classifiers, two editors, and a report on all of them."""
    folder = tmp_path_factory.mktemp("inrs")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    assert main(["build", str(folder / "recipe.yaml"), "--out", str(folder / "zoo"), "--seed", "1"]) == 0
    for name, (task, metanetwork, words) in RUNS.items():
        config = f"task: inr_{task}" + TRAINING.format(zoo=folder / "zoo", metanetwork=metanetwork)
        (folder / f"{name}.yaml").write_text(config, encoding="utf-8")
        assert main(["train", str(folder / f"{name}.yaml"), "--out", str(folder / name), *words]) == 0
    runs = [str(folder / name) for name in reversed(RUNS)]
    with redirect_stdout(StringIO()) as shown, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["zoovet", "evaluate", *runs, "--out", str(folder / "report")])
        assert main() == 0
    assert "ScaleGMN-B, canonicalized: accuracy" in shown.getvalue()
    assert "doing nothing: mean squared error" in shown.getvalue()
    return folder


def test_classifiers_are_named_by_their_configuration_and_measured_on_test_networks(inrs: Path) -> None:
    figures = json.loads((inrs / "report" / "figures.json").read_text(encoding="utf-8"))["inr_classification"]
    assert list(figures["models"]) == ["scalegmn", "scalegmn_canonicalized", "permutation", "mlp"]
    test = zoovet.Zoo.open(inrs / "zoo").split("test")
    assert figures["num_networks"] == len(test) == 18
    results = ClassificationResults.load(inrs / "report" / "inr_classification.parquet")
    assert results.network_ids == tuple(test.column("network_id"))
    for key, name in {"scalegmn": "gmn", "scalegmn_canonicalized": "turned", "mlp": "flat"}.items():
        predicted = zoovet.Classifier.load(inrs / name).predict(test.networks()).argmax(dim=1)
        np.testing.assert_array_equal(results.predictions[key], predicted)
        model = figures["models"][key]
        assert model["accuracy"] == pytest.approx((predicted.numpy() == test.column("label")).mean(), abs=1e-6)
        assert model["run"] == str(inrs / name)
        assert model["num_parameters"] > 0
        assert model["training_seconds"] > 0


def test_editors_are_compared_with_doing_nothing(inrs: Path) -> None:
    figures = json.loads((inrs / "report" / "figures.json").read_text(encoding="utf-8"))["inr_editing"]
    results = EditingResults.load(inrs / "report" / "inr_editing.parquet")
    assert list(figures["models"]) == ["scalegmn", "permutation"]
    assert figures["nothing"]["mse"] == pytest.approx(results.mse_of_nothing.mean(), rel=1e-4)
    assert figures["models"]["scalegmn"]["mse"] == pytest.approx(results.mse["scalegmn"].mean(), rel=1e-4)
    assert figures["num_networks"] == 18


def test_the_page_shows_pictures(inrs: Path) -> None:
    page = (inrs / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 2 * 12 + 5 * 8, "reconstructions beside images; source, input, target, two editors"
    assert "60 INRs of 60 images" in page
    assert not re.search(r"(?:src|href)=\"https?://", page)


def test_figures_go_to_one_small_file(inrs: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"trojan": {"auc": 1}}', encoding="utf-8")
    results_json.main([str(inrs / "report"), "--out", str(tmp_path / "results.json")])
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(content) == ["trojan", "inr_classification", "inr_editing"]
    models = {"scalegmn", "scalegmn_canonicalized", "permutation", "mlp"}
    assert set(content["inr_classification"]) == models | {"num_test", "command"}
    assert content["inr_classification"]["command"].startswith("zoovet evaluate ")


def test_images_that_cannot_be_had_are_only_missed_in_the_page(inrs: Path, tmp_path: Path) -> None:
    shutil.copytree(inrs / "zoo", tmp_path / "zoo")
    info = json.loads((tmp_path / "zoo" / "zoo.json").read_text(encoding="utf-8"))
    del info["recipe"]["image_splits"]
    for shard in info["shards"]:  # as an earlier version wrote them, which did not say of which recipe they are
        path = tmp_path / "zoo" / shard["name"]
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
        shard |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "num_bytes": path.stat().st_size}
    (tmp_path / "zoo" / "zoo.json").write_text(json.dumps(info), encoding="utf-8")
    words = ["evaluate", str(inrs / "flat"), "--zoo", str(tmp_path / "zoo"), "--out", str(tmp_path / "report")]
    assert main(words) == 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "INRs are not shown beside their images: the recipe of the zoo" in page
    assert "<img " not in page


def test_two_runs_of_one_name_are_refused(inrs: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    shutil.copytree(inrs / "gmn", tmp_path / "other")
    complaint = refused("evaluate", inrs / "gmn", tmp_path / "other", "--out", tmp_path / "report")
    assert complaint.startswith(f"{inrs / 'gmn'} and {tmp_path / 'other'} are both called 'scalegmn'")
    assert not (tmp_path / "report" / "figures.json").exists()


def test_a_zoo_that_is_not_the_runs_own_is_refused(inrs: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    words = ["build", str(inrs / "recipe.yaml"), "--out", str(tmp_path / "zoo"), "--seed", "2"]
    assert main(words) == 0
    for run in ("gmn", "turned", "editor"):
        complaint = refused("evaluate", inrs / run, "--zoo", tmp_path / "zoo", "--out", tmp_path / "report")
        assert complaint.startswith(f"{inrs / run} was not trained on the training networks of {tmp_path / 'zoo'}")


def test_a_zoo_whose_test_split_overlaps_is_refused(inrs: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    from zoovet.zoo.store import ZooInfo, write_shard

    zoo = zoovet.Zoo.open(inrs / "zoo")
    first_trained = int(np.flatnonzero(zoo.column("split") == "train")[0])
    rows = []
    for place, weights in enumerate(zoo.weights().numpy()):
        row = {name: zoo.column(name)[place] for name in ("network_id", "base_id", "spec_id", "split", "label")}
        rows.append(
            {**row, "dataset": "digits", "image_index": int(zoo.column("image_index")[place]), "weights": weights}
        )
    leaked = next(row for row in rows if row["split"] == "test")
    leaked["base_id"] = int(zoo.column("base_id")[first_trained])
    (tmp_path / "zoo").mkdir()
    shard = write_shard(tmp_path / "zoo" / "shard-00000.parquet", rows)
    info = ZooInfo(graphs=zoo.graphs, recipe=zoo.recipe, versions={}, num_shards=1, shards=(shard,))
    info.write(tmp_path / "zoo")
    complaint = refused("evaluate", inrs / "gmn", "--zoo", tmp_path / "zoo", "--out", tmp_path / "report")
    assert "overlap: networks of base" in complaint
