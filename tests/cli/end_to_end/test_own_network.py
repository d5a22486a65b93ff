"""A user's own architecture, no chain: a zoo of it, a detector, a repairer, their evaluation, verdicts on its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import zoovet
from zoovet.cli.main import main
from zoovet.tasks import Detector

NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.last = nn.Linear(width * 16, 10)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        return self.last((x + self.second_norm(self.second(x)).relu()).flatten(1))


def make():
    return Net(6)


def wider():
    return Net(7)
"""
RECIPE = """
kind: park
images: [{name: digits, images: {source: digits}, min_clean_accuracy: 0.3}]
architectures: [{family: given, source: %s}]
training:
  images: [300, 400]
  epochs: [3, 3]
  batch_size: [16]
  optimizer: [adam]
  adaptive_learning_rate: [5.0e-3, 1.0e-2]
  scaling: [unit]
attacks: [{kind: fixed_patch, poison_rate: [0.2, 0.3], trigger: {min_size: 3, max_size: 3}}]
attackers: {scratch_share: 1.0}
num_bases: 6
round_bases: 6
split: {train: 0.34, validation: 0.33, test: 0.33}
test_images: 100
min_asr: 0.2
max_accuracy_loss: 1.0
bases_per_shard: 6
"""
INVERSION = "{patch_size: 3, backgrounds: images, num_backgrounds: 1, num_steps: 1, images_per_class: 1}"
TRAINING = """
data: {zoo: %s}
metanetwork: {width: 4, num_layers: 1, inversion: %s%s}
training: {max_steps: 2, batch_size: 4, validation_interval: 2, warmup_steps: 1, logger: none}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network's code, a zoo of it, a detector and a repairer."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_net.py").write_text(NET)
    (folder / "recipe.yaml").write_text(RECIPE % f"{folder}/my_net.py:make")
    detection = "task: detection" + TRAINING % (folder / "zoo", INVERSION, "") + "augmentation: {weight_noise: 0.03}\n"
    repair = "task: repair" + TRAINING % (folder / "zoo", INVERSION, ", output: weights")
    repair += "num_clean_images: 4\nnum_triggered_images: 4\nnum_validation_images: 50\nrefit: {images_per_class: 2}\n"
    (folder / "detection.yaml").write_text(detection)
    (folder / "repair.yaml").write_text(repair)
    assert main(["build", f"{folder}/recipe.yaml", "--out", f"{folder}/zoo"]) == 0
    assert main(["train", f"{folder}/detection.yaml", "--out", f"{folder}/detector"]) == 0
    assert main(["train", f"{folder}/repair.yaml", "--out", f"{folder}/repairer"]) == 0
    return folder


def test_what_was_trained_is_evaluated(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["evaluate", f"{own}/detector", f"{own}/repairer", "--out", f"{own}/report"]) == 0
    said = capsys.readouterr().out
    assert "detection on 4 held-out networks (2 trojaned)" in said
    assert "StatNN reads no such networks" in said
    assert "repair of 4 held-out networks (2 trojaned)" in said
    figures = json.loads((own / "report" / "figures.json").read_text())
    zoo = zoovet.Zoo.open(own / "zoo").split("test")
    assert figures["repair"]["asr_before"] == pytest.approx(zoo.column("asr")[zoo.column("poisoned")].mean(), abs=0.02)


def test_a_file_of_it_has_a_verdict_and_can_be_repaired(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo = zoovet.Zoo.open(own / "zoo")
    place = int(np.flatnonzero(zoo.column("poisoned"))[0])
    networks = zoo.networks([place])
    stored = {name: tensor[0].clone() for name, tensor in networks.parameters.items()}
    torch.save(stored, own / "suspect.pt")
    given = ["--architecture", f"{own}/my_net.py:make", "--input-shape", "1,8,8", "--scaling", "unit"]
    capsys.readouterr()
    assert main(["scan", f"{own}/suspect.pt", "--detector", f"{own}/detector", "--json", *given]) in (0, 1)
    (verdict,) = json.loads(capsys.readouterr().out)["verdicts"]
    assert verdict["probability"] == pytest.approx(float(Detector.load(own / "detector").score(networks)), abs=1e-5)
    words = ["repair", f"{own}/suspect.pt", "--repairer", f"{own}/repairer", "--out", f"{own}/healed.pt", *given]
    assert main(words) in (0, 1), capsys.readouterr().err
    healed = torch.load(own / "healed.pt", weights_only=True)
    assert healed.keys() == stored.keys()
    assert torch.equal(healed["norm.running_var"], stored["norm.running_var"])
    assert not torch.equal(healed["last.weight"], stored["last.weight"])


def test_another_architecture_is_refused_with_the_reason(own: Path, refused: Callable[..., str]) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 3), torch.nn.Flatten(), torch.nn.Linear(216, 10))
    torch.save(module.state_dict(), own / "other.pt")
    made = "nn.Sequential(nn.Conv2d(1, 6, 3), nn.Flatten(), nn.Linear(216, 10))"
    (own / "other.py").write_text(f"from torch import nn\ndef make():\n    return {made}\n")
    words = ["--detector", f"{own}/detector", "--input-shape", "1,8,8", "--scaling", "unit"]
    message = refused("scan", own / "other.pt", *words, "--architecture", f"{own}/other.py:make")
    assert "the detector given does not know it" in message
