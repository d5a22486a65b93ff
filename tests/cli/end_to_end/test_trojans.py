"""Every verb as a user calls it, one after another, on a zoo of healthy and trojaned digit networks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import zoovet
from zoovet.cli.demo_trainings import Training, train_all
from zoovet.cli.main import main
from zoovet.cli.train_configs import TrainingData
from zoovet.config import read_config, read_yaml
from zoovet.errors import ZoovetError
from zoovet.tasks import DetectionConfig, RepairConfig
from zoovet.tasks.training_config import TrainingConfig


def test_build_left_a_zoo(place: Path) -> None:
    zoo = zoovet.Zoo.open(place / "zoo", verify=True)
    assert len(zoo) == 24
    assert zoo.recipe["seed"] == 1
    assert sorted(path.name for path in (place / "zoo").glob("*")) == [
        "shard-00000.parquet",
        "shard-00001.parquet",
        "zoo.json",
    ]


def test_train_left_runs_that_can_be_loaded(place: Path) -> None:
    networks = zoovet.Zoo.open(place / "zoo").networks()
    scores = zoovet.Detector.load(place / "detector").score(networks)
    assert scores.shape == (24,)
    assert bool(((scores > 0) & (scores < 1)).all())
    repaired = zoovet.TrainedRepairer.load(place / "repairer").repair(networks)
    assert repaired.graph == networks.graph
    assert not torch.equal(repaired.flat(), networks.flat())
    for run in ("detector", "repairer"):
        assert {"config.yaml", "checkpoint.safetensors", "run.json"} <= {path.name for path in (place / run).iterdir()}


def test_evaluate_left_a_report_and_its_figures(place: Path) -> None:
    figures = json.loads((place / "report" / "figures.json").read_text(encoding="utf-8"))
    assert {"auc", "accuracy", "tpr_at_1pct_fpr", "statnn_auc", "num_networks"} <= figures["detection"].keys()
    pairs = ("clean_accuracy", "asr", "ra", "healthy_accuracy")
    wanted = {f"{name}_{when}" for name in pairs for when in ("before", "after")}
    assert wanted | {"num_networks"} <= figures["repair"].keys()
    assert figures["seed"] == 3
    assert figures["wall_time_seconds"] > 0
    zoo = zoovet.Zoo.open(place / "zoo").split("test")
    trojaned = zoo.select(zoo.column("poisoned"))
    assert figures["detection"]["num_networks"] == figures["repair"]["num_networks"] == len(zoo) == 6
    assert figures["repair"]["asr_before"] == pytest.approx(trojaned.column("asr").mean(), abs=1e-6)
    page = (place / "report" / "report.html").read_text(encoding="utf-8")
    assert "zoovet evaluate" in page
    assert not re.search(r"(?:src|href)=\"https?://", page), "the page loads nothing"


def test_scan_tells_by_its_exit_status(
    place: Path, suspect: Path, capsys: pytest.CaptureFixture[str], run_zoovet: Callable[..., Any]
) -> None:
    flagged = run_zoovet("scan", suspect, "--detector", place / "detector", "--threshold", "0", "--json")
    assert flagged.returncode == 1, flagged.stderr
    (verdict,) = json.loads(flagged.stdout)["verdicts"]
    detector, network = zoovet.Detector.load(place / "detector"), zoovet.load_networks(suspect)
    score, likeness = float(detector.score(network)), float(detector.in_distribution(network))
    expected = {
        "file": str(suspect),
        "network": 0,
        "score": pytest.approx(score),
        "probability": verdict["score"],
        "threshold": 0.0,
        "target": None,
        "flagged": True,
        "in_distribution": pytest.approx(likeness),
        "verdict": "trojaned",
        "reason": None,
        "input_scaling": {"range": [-1.0, 1.0], "mean": [0.0], "deviation": [1.0]},
        "scaling_is_assumed": False,
        "model": None,
    }
    assert {name: verdict[name] for name in expected} == expected
    of_strangers = set(verdict) - set(expected) - {"digest", "detector", "rests_on"}
    assert not any(verdict[name] for name in of_strangers), "nothing was sought in it"
    capsys.readouterr()
    assert main(["scan", str(suspect), "--detector", str(place / "detector"), "--threshold", "1"]) == 0
    assert capsys.readouterr().out.split() == [
        *("file", "in-distribution", "score", "threshold", "verdict"),
        *(str(suspect), f"{likeness:.4f}", f"{score:.4f}", "1.0000", "healthy"),
    ]


def test_repair_writes_edited_weights_and_leaves_its_input(
    place: Path, suspect: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = suspect.read_bytes(), place / "healed" / "network.safetensors"
    capsys.readouterr()
    assert main(["repair", str(suspect), "--repairer", str(place / "repairer"), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 1 network repaired")
    expected = zoovet.TrainedRepairer.load(place / "repairer").repair(zoovet.load_networks(suspect))
    assert torch.equal(zoovet.load_networks(out).flat(), expected.flat())
    assert suspect.read_bytes() == before


def test_scan_reads_state_dicts_and_goes_on_after_a_bad_file(
    place: Path, suspect: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = zoovet.load_networks(suspect)
    state = {f"{2 * index}.weight": weight[0] for index, weight in enumerate(networks.weights)}
    state |= {f"{2 * index}.bias": bias[0] for index, bias in enumerate(networks.biases)}
    torch.save(state, tmp_path / "state.pt")
    words = ["scan", tmp_path / "none.pt", tmp_path / "state.pt", suspect, "--detector", place / "detector", "--json"]
    assert main([str(word) for word in words]) == 2
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    first, second = found["verdicts"]
    assert first["score"] == pytest.approx(second["score"], rel=1e-6)
    assert found["errors"] == [{"file": str(tmp_path / "none.pt"), "error": f"{tmp_path / 'none.pt'} does not exist"}]
    note, error = shown.err.splitlines()
    assert note.startswith(f"note: {tmp_path / 'state.pt'}: input scaling not known; assumed images scaled to [-1, 1]")
    assert error == f"error: {tmp_path / 'none.pt'} does not exist"


def test_scan_names_the_networks_of_a_file_with_several(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = zoovet.Zoo.open(place / "zoo").networks([0, 1, 2])
    zoovet.save_networks(several, tmp_path / "three.safetensors")
    words = ["scan", tmp_path / "three.safetensors", "--detector", place / "detector", "--threshold", "1"]
    assert main([str(word) for word in words]) == 0
    shown = capsys.readouterr().out
    assert [f"three.safetensors[{index}]" in shown for index in range(4)] == [True, True, True, False]


def test_the_documents_python_runs(place: Path, suspect: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
    block = re.search(r"\n((?:    .*\n|\n)*    import zoovet\n(?:    .*\n|\n)*)", page)
    assert block is not None
    code = "\n".join(line[4:] for line in block[1].splitlines())
    monkeypatch.chdir(place)
    for name, target in {"zoos/fmnist": "zoo", "runs/detector": "detector", "runs/repairer": "repairer"}.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).symlink_to(place / target)
    names: dict[str, Any] = {"images": torch.zeros(5, 1, 8, 8)}
    exec(compile(code, "python.md", "exec"), names)
    assert names["logits"].shape == (1, 5, 10)


def test_demo_does_all_of_it_and_goes_on_where_it_was(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, keys = tmp_path / "demo", ["--out", str(tmp_path / "demo"), "--workers", "1", "--seed", "1"]
    for name, value in read_yaml(place / "recipe.yaml").items():
        keys.append(f"--zoo.{name}={json.dumps(value)}".replace('"', ""))
    for part in ("detection", "repair"):
        keys += [
            f"--{part}.metanetwork.width=8",
            f"--{part}.metanetwork.num_layers=1",
            f"--{part}.training.max_steps=2",
        ]
    keys += ["--detection.training.max_minutes=1e-6"]
    assert main(["demo", *keys, "--repair.num_validation_images=50"]) == 0
    shown, progress = capsys.readouterr()
    assert shown.splitlines()[0] == "images: digits, as --zoo.dataset says"
    assert re.search(r"^detector: inverting  \d+/18 networks  \d+:\d\d left  [\d.]+/s$", progress, re.MULTILINE)
    figures = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    assert figures["detection"]["num_networks"] == figures["repair"]["num_networks"] == 6
    assert f"AUC {figures['detection']['auc']:.3f}" in shown
    assert figures["dataset"] == "digits"
    limit = {"run": str(out / "detector"), "kind": "detector", "steps": 1, "max_steps": 2, "max_minutes": 1e-6}
    assert figures["cut_short"] == [limit]
    said = f"ut short: the training of the detector in {out / 'detector'} did 1 of 2 steps"
    assert f"c{said}" in shown
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.index(f"C{said}") < page.index("<h1>")
    trained = (out / "detector" / "checkpoint.safetensors").stat().st_mtime_ns
    (out / "figures.json").unlink()
    assert main(["demo", *keys, "--repair.num_validation_images=50"]) == 0
    again = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    assert (again["detection"], again["cut_short"]) == (figures["detection"], figures["cut_short"])
    assert "an earlier demo in this folder was continued" in (out / "report.html").read_text(encoding="utf-8")
    assert trained == (out / "detector" / "checkpoint.safetensors").stat().st_mtime_ns, "nothing was trained again"
    assert main(["demo", *keys]) == 2
    assert f"{out} holds a demo of another configuration" in capsys.readouterr().err


@pytest.fixture
def trainings(place: Path) -> list[Training]:
    """A detector's and a repairer's, of a step or two."""
    detection, repair = (read_yaml(place / f"{name}.yaml") for name in ("detection", "repair"))
    for values in (detection, repair):
        del values["task"], values["data"]
        values["training"]["max_steps"] = 2
    return [
        Training(name="detector", task="detection", config=read_config(DetectionConfig, detection)),
        Training(name="repairer", task="repair", config=read_config(RepairConfig, repair)),
    ]


@pytest.mark.slow
def test_trainings_side_by_side_give_what_they_give_one_after_the_other(
    place: Path, tmp_path: Path, trainings: list[Training], capsys: pytest.CaptureFixture[str]
) -> None:
    data = TrainingData(zoo=place / "zoo")
    for name, side_by_side in (("both", True), ("each", False)):
        (tmp_path / name).mkdir()
        train_all(trainings, data, tmp_path / name, device="cpu", data_root=None, side_by_side=side_by_side)
        shown = capsys.readouterr().err
        assert re.search(r"^detector: training  step 2/2", shown, re.MULTILINE)
        assert re.search(r"^repairer: training  step 2/2", shown, re.MULTILINE)
    for name in ("detector", "repairer"):
        both, each = (load_file(tmp_path / way / name / "checkpoint.safetensors") for way in ("both", "each"))
        assert both.keys() == each.keys()
        assert all(torch.equal(both[key], each[key]) for key in both)


@pytest.mark.slow
def test_a_training_that_cannot_begin_ends_those_beside_it(
    place: Path, tmp_path: Path, trainings: list[Training]
) -> None:
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector" / "notes.txt").write_text("mine", encoding="utf-8")
    trainings[1] = replace(trainings[1], config=replace(trainings[1].config, training=TrainingConfig(max_steps=10**6)))
    with pytest.raises(ZoovetError, match=r"detector holds something else than a training run \('notes.txt'"):
        train_all(trainings, TrainingData(zoo=place / "zoo"), tmp_path, device="cpu", data_root=None, side_by_side=True)
    trainings.reverse()  # the endless one now runs in a process of its own
    with pytest.raises(ZoovetError, match="detector holds something else"):
        train_all(trainings, TrainingData(zoo=place / "zoo"), tmp_path, device="cpu", data_root=None, side_by_side=True)
    assert not active_children()


@pytest.mark.slow
def test_an_interrupted_build_ends_cleanly_and_is_finished_by_the_same_command(place: Path, tmp_path: Path) -> None:
    recipe = [str(place / "recipe.yaml"), "--seed", "1", "--num_bases", "8", "--bases_per_shard", "1"]
    recipe += ["--base.epochs", "60"]  # long enough to be interrupted on a busy machine
    command = [sys.executable, "-m", "zoovet", "build", *recipe, "--out", str(tmp_path / "zoo")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "zoo").glob("shard-*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    kept = len(list((tmp_path / "zoo").glob("shard-*.parquet")))
    assert 1 <= kept < 8
    last = errors.splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert f"kept in {tmp_path / 'zoo'}; the same command goes on from there" in last
    assert main(command[3:]) == 0
    assert main(["build", *recipe, "--out", str(tmp_path / "whole")]) == 0
    there, here = (zoovet.Zoo.open(path, verify=True) for path in (tmp_path / "whole", tmp_path / "zoo"))
    assert torch.equal(there.weights(), here.weights())
