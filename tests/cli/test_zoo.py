"""``zoovet zoo new``: a recipe that build takes, and a forecast that rests on what was measured."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from zoovet.cli.expected_auc import OWN_NETWORKS_AUC, SMALL_CNN_AUC, expected_auc
from zoovet.cli.main import main
from zoovet.config import read_config, read_yaml
from zoovet.networks import Networks, small_cnn, to_module
from zoovet.zoo import ParkRecipe

NET = "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"


@pytest.mark.slow
def test_a_recipe_is_written_that_build_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_net.py").write_text(NET)
    recipe = tmp_path / "mine.yaml"
    words = ["zoo", "new", f"{tmp_path}/my_net.py:make", "--images", "digits", "--out", str(recipe), "--num-bases", "2"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert re.search(r"One base took \d+\.\d s on one core here: accuracy 0\.\d+, ASR ", said)
    assert f"zoovet build {recipe} --out zoos/mine" in said
    assert "zoovet train configs/strangers.yaml" in said
    assert "More precise, where all that you vet is this architecture on these images: --precise." in said
    assert OWN_NETWORKS_AUC in said
    assert main(["build", str(recipe), "--out", str(tmp_path / "zoo")]) == 0
    assert "4 networks" in capsys.readouterr().out
    assert main(words) == 2
    assert "mine.yaml is there already; give another --out" in capsys.readouterr().err


def test_a_precise_zoo_is_of_the_images_given_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_net.py").write_text(NET)
    recipe = tmp_path / "mine.yaml"
    words = ["zoo", "new", f"{tmp_path}/my_net.py:make", "--images", "digits", "--out", str(recipe), "--precise"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "zoovet train configs/own/detection.yaml --data.zoo zoos/mine --out runs/mine" in said
    assert "zoovet scan SUSPECT --detector runs/mine" in said
    assert OWN_NETWORKS_AUC in said
    assert "More precise" not in said
    (block,) = read_config(ParkRecipe, recipe).images
    assert block.name == "digits"


def test_the_documents_command_runs(documents: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = small_cnn("relu", input_shape=(1, 8, 8), channels=(12, 12))
    networks = Networks.from_flat(graph, torch.linspace(-1, 1, graph.num_parameters)[None])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is a newer exporter
        torch.onnx.export(to_module(networks), (torch.zeros(1, 1, 8, 8),), str(tmp_path / "my-net.onnx"), dynamo=False)
    digits = load_digits()
    for place, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = tmp_path / "photos" / f"digit {label}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((15 * image).astype("uint8")).save(path)
    monkeypatch.chdir(tmp_path)
    for command in documents.run_by("tests/cli/test_zoo.py"):
        words = shlex.split(command)[1:]
        assert main(words) == 0
        recipe = Path(words[words.index("--out") + 1])
        assert read_yaml(recipe)["kind"] in ("trojan", "park")
        recipe.unlink()


def test_a_network_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "new", "none.pt", "--images", "digits", "--out", str(tmp_path / "mine.yaml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "none.pt" in line
    assert not list(tmp_path.iterdir())


def test_the_forecast_is_what_the_results_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    rows = re.findall(r"\| detector \| 50 \| 200 \| all 2100 \|\n\|[-|]+\n\| ScaleGMN \| (.*?) \|\n", page)
    assert [tuple(re.findall(r"(0\.\d+) ±", row)) for row in rows] == list(SMALL_CNN_AUC.values())
    card = (Path(__file__).parents[2] / "src/zoovet/shipped/strangers/card.md").read_text()
    auc = re.findall(r"^\| one image set .*? \| (0\.\d+) \(", card, flags=re.MULTILINE)
    assert auc
    assert all(value in expected_auc("strangers") for value in auc)
    assert "no AUC was measured" in expected_auc("strangers")
    own = (Path(__file__).parents[2] / "docs" / "own-networks.md").read_text()
    auc_of_200, auc_of_52 = (
        re.findall(pattern, OWN_NETWORKS_AUC)[0] for pattern in (r"AUC of (0\.\d+)", r", (0\.\d+) of 52")
    )
    assert f"**AUC {auc_of_200}** (95 %: 0.911 to 0.997)" in own
    assert f"{auc_of_52} (52 bases" in own
    assert expected_auc("precise") == OWN_NETWORKS_AUC
