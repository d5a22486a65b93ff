"""What the tests of the whole command share: the command, and a zoo of digit networks with what was trained on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import zoovet
from zoovet.cli.main import main

RECIPE = """
kind: trojan
dataset: digits
num_bases: 12
activations: [relu]
channels: [6, 6]
train_images: 1437
test_images: 200
batch_size: 32
base: {epochs: 8}
finetune: {epochs: [5, 6], poison_rate: [0.2, 0.3]}
trigger: {kinds: [white], min_size: 3, max_size: 3, min_weight: 1.0}
min_clean_accuracy: 0.3
min_asr: 0.3
split: {train: 0.5, validation: 0.25, test: 0.25}
bases_per_shard: 6
"""
TRAINING = """
data: {{zoo: {zoo}}}
metanetwork: {{width: 8, num_layers: 1{output}}}
training: {{max_steps: 4, batch_size: 6, validation_interval: 2, warmup_steps: 1}}
"""

RunZoovet = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run_zoovet() -> RunZoovet:
    """The command as a process of its own."""

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "zoovet", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    return run


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, run_zoovet: RunZoovet) -> Path:
    """A folder with a zoo, a detector, a repairer, and their report, all made by the command.

    One is made in a process of its own, the others in this one, which saves the seconds that each takes to start.
    """
    folder = tmp_path_factory.mktemp("end_to_end")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    detection = "task: detection" + TRAINING.format(zoo=folder / "zoo", output="")
    (folder / "detection.yaml").write_text(detection, encoding="utf-8")
    repair = "task: repair" + TRAINING.format(zoo=folder / "zoo", output=", output: weights")
    repair += "num_clean_images: 8\nnum_triggered_images: 8\nnum_validation_images: 50\nrefit: {images_per_class: 3}\n"
    (folder / "repair.yaml").write_text(repair, encoding="utf-8")

    def run(*words: str | Path) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", ["zoovet", *map(str, words)])  # which the report shows
            assert main() == 0

    run("build", folder / "recipe.yaml", "--out", folder / "zoo", "--seed", "1")
    done = run_zoovet("train", folder / "detection.yaml", "--out", folder / "detector")
    assert done.returncode == 0, done.stderr
    run("train", folder / "repair.yaml", "--out", folder / "repairer", "--device", "cpu")
    run("evaluate", folder / "detector", folder / "repairer", "--out", folder / "report", "--seed", "3")
    return folder


@pytest.fixture(scope="session")
def suspect(place: Path) -> Path:
    """A trojaned network of the zoo in a file of its own."""
    zoo = zoovet.Zoo.open(place / "zoo").split("test")
    path = place / "suspect.safetensors"
    zoovet.save_networks(zoo.select(zoo.column("poisoned")).networks([0]), path)
    return path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command on bad input; returns its one line of complaint, the last one after any of progress."""

    def run(*words: str | Path) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        *progress, complaint = capsys.readouterr().err.splitlines()
        assert complaint.startswith("error: ")
        assert not any("error" in line or "Traceback" in line for line in progress), progress
        return complaint.removeprefix("error: ")

    return run
