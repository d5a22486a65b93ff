"""Every verb as a user calls it, one after another, on a zoo of digit networks; and every bad input, by its message."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoovet
from zoovet.cli.main import main
from zoovet.config import read_yaml
from zoovet.networks import small_cnn

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


def run_zoovet(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "zoovet", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo, a detector, a repairer, and their report, all made by the command."""
    folder = tmp_path_factory.mktemp("end_to_end")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    detection = "task: detection" + TRAINING.format(zoo=folder / "zoo", output="")
    (folder / "detection.yaml").write_text(detection, encoding="utf-8")
    repair = "task: repair" + TRAINING.format(zoo=folder / "zoo", output=", output: weights")
    repair += "num_clean_images: 8\nnum_triggered_images: 8\nnum_validation_images: 50\n"
    (folder / "repair.yaml").write_text(repair, encoding="utf-8")
    steps: list[list[str | Path]] = [
        ["build", folder / "recipe.yaml", "--out", folder / "zoo", "--seed", "1"],
        ["train", folder / "detection.yaml", "--out", folder / "detector"],
        ["train", folder / "repair.yaml", "--out", folder / "repairer", "--device", "cpu"],
        ["evaluate", folder / "detector", folder / "repairer", "--out", folder / "report", "--seed", "3"],
    ]
    for words in steps:
        done = run_zoovet(*words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def suspect(place: Path) -> Path:
    """A trojaned network of the zoo in a file of its own."""
    zoo = zoovet.Zoo.open(place / "zoo").split("test")
    path = place / "suspect.safetensors"
    zoovet.save_networks(zoo.select(zoo.column("poisoned")).networks([0]), path)
    return path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command on bad input; returns its one line of complaint."""

    def run(*words: str | Path) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        shown = capsys.readouterr()
        assert shown.err.startswith("error: ")
        assert shown.err.count("\n") == 1, shown.err
        return shown.err.removeprefix("error: ").rstrip("\n")

    return run


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
    repaired = zoovet.Repairer.load(place / "repairer").repair(networks)
    assert repaired.spec == networks.spec
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


def test_scan_tells_by_its_exit_status(place: Path, suspect: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flagged = run_zoovet("scan", suspect, "--detector", place / "detector", "--threshold", "0", "--json")
    assert flagged.returncode == 1, flagged.stderr
    (verdict,) = json.loads(flagged.stdout)["verdicts"]
    score = float(zoovet.Detector.load(place / "detector").score(zoovet.load_networks(suspect)))
    assert verdict == {
        "file": str(suspect),
        "network": 0,
        "score": pytest.approx(score),
        "threshold": 0.0,
        "flagged": True,
    }
    capsys.readouterr()
    assert main(["scan", str(suspect), "--detector", str(place / "detector"), "--threshold", "1"]) == 0
    assert capsys.readouterr().out.split() == [
        *("file", "score", "threshold", "verdict"),
        *(str(suspect), f"{score:.4f}", "1.0000", "healthy"),
    ]


def test_repair_writes_edited_weights_and_leaves_its_input(place: Path, suspect: Path) -> None:
    before, out = suspect.read_bytes(), place / "healed" / "network.safetensors"
    done = run_zoovet("repair", suspect, "--repairer", place / "repairer", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: 1 network repaired")
    expected = zoovet.Repairer.load(place / "repairer").repair(zoovet.load_networks(suspect))
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
    assert shown.err == f"error: {tmp_path / 'none.pt'} does not exist\n"


def test_scan_names_the_networks_of_a_file_with_several(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = zoovet.Zoo.open(place / "zoo").networks([0, 1, 2])
    zoovet.save_networks(several, tmp_path / "three.safetensors")
    words = ["scan", tmp_path / "three.safetensors", "--detector", place / "detector", "--threshold", "1"]
    assert main([str(word) for word in words]) == 0
    shown = capsys.readouterr().out
    assert [f"three.safetensors[{index}]" in shown for index in range(4)] == [True, True, True, False]


def test_the_readmes_python_runs(place: Path, suspect: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = re.search(r"\n((?:    .*\n|\n)*    import zoovet\n(?:    .*\n|\n)*)", readme)
    assert block is not None
    code = "\n".join(line[4:] for line in block[1].splitlines())
    monkeypatch.chdir(place)
    for name, target in {"zoos/fmnist": "zoo", "runs/detector": "detector", "runs/repairer": "repairer"}.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).symlink_to(place / target)
    names: dict[str, Any] = {"images": torch.zeros(5, 1, 8, 8)}
    exec(compile(code, "README.md", "exec"), names)
    assert names["logits"].shape == (1, 5, 10)


def test_demo_does_all_of_it_and_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, keys = tmp_path / "demo", ["--out", str(tmp_path / "demo"), "--workers", "1", "--seed", "1"]
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    for name, value in read_yaml(tmp_path / "recipe.yaml").items():
        keys.append(f"--zoo.{name}={json.dumps(value)}".replace('"', ""))
    for part in ("detection", "repair"):
        keys += [
            f"--{part}.metanetwork.width=8",
            f"--{part}.metanetwork.num_layers=1",
            f"--{part}.training.max_steps=2",
        ]
    assert main(["demo", *keys, "--repair.num_validation_images=50"]) == 0
    shown = capsys.readouterr().out
    figures = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    assert figures["detection"]["num_networks"] == figures["repair"]["num_networks"] == 6
    assert f"AUC {figures['detection']['auc']:.3f}" in shown
    assert (out / "report.html").is_file()
    trained = (out / "detector" / "checkpoint.safetensors").stat().st_mtime_ns
    (out / "figures.json").unlink()
    assert main(["demo", *keys, "--repair.num_validation_images=50"]) == 0
    assert json.loads((out / "figures.json").read_text(encoding="utf-8"))["detection"] == figures["detection"]
    assert "an earlier demo in this folder was continued" in (out / "report.html").read_text(encoding="utf-8")
    assert trained == (out / "detector" / "checkpoint.safetensors").stat().st_mtime_ns, "nothing was trained again"
    assert main(["demo", *keys]) == 2
    assert f"{out} holds a demo of another configuration" in capsys.readouterr().err


# Bad input


def test_an_unknown_key_names_the_nearest_known_one(place: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    out = tmp_path / "out"
    build = ["build", place / "recipe.yaml", "--out", out]
    assert refused(*build, "--num_base", "3") == "--num_base: unknown key 'num_base'; did you mean 'num_bases'?"
    train = ["train", place / "detection.yaml", "--out", out]
    assert refused(*train, "--metanetwork.widht", "3").endswith("did you mean 'metanetwork.width'?")
    assert refused(*train, "--dat.zoo", "z") == "--dat.zoo: unknown key 'dat.zoo'; did you mean 'data.zoo'?"
    (tmp_path / "typo.yaml").write_text(RECIPE.replace("min_asr", "minasr"), encoding="utf-8")
    typo = refused("build", tmp_path / "typo.yaml", "--out", out)
    assert typo == f"{tmp_path / 'typo.yaml'}: unknown key 'minasr'; did you mean 'min_asr'?"
    assert not out.exists()


def test_a_wrong_type_names_the_key_and_what_is_expected(
    place: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    out = tmp_path / "out"
    build = refused("build", place / "recipe.yaml", "--out", out, "--num_bases", "many")
    assert build == "--num_bases: 'num_bases' must be an integer, got 'many' (text)"
    train = refused("train", place / "repair.yaml", "--out", out, "--training.max_steps=1.5")
    assert train == "--training.max_steps: 'training.max_steps' must be an integer, got 1.5 (a number)"
    assert not out.exists()


def test_a_task_that_is_missing_or_unknown(place: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "none.yaml").write_text("data: {zoo: z}\n", encoding="utf-8")
    words = ["train", tmp_path / "none.yaml", "--out", tmp_path / "out"]
    assert refused(*words) == f"{tmp_path / 'none.yaml'}: the key 'task' is missing; it takes detection or repair"
    assert refused(*words, "--task", "detecton").endswith("task 'detecton' is unknown; did you mean 'detection'?")


def test_a_zoo_that_is_none_or_not_given(place: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    words = ["train", place / "detection.yaml", "--out", tmp_path / "out"]
    assert "is not a zoo: it has no zoo.json" in refused(*words, "--data.zoo", tmp_path)
    (tmp_path / "bare.yaml").write_text("task: detection\n", encoding="utf-8")
    bare = refused("train", tmp_path / "bare.yaml", "--out", tmp_path / "out")
    assert bare.endswith("the key 'data.zoo' is missing; it takes a path")
    assert not (tmp_path / "out").exists()


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(os.environ["ZOOVET_TEST_BOMB"]),))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"suspect\.pt does not exist"),
        ("truncated", r"suspect\.pt is a safetensors file that is damaged or truncated"),
        ("text", r"suspect\.pt is not a weight file"),
        ("pickle", r"suspect\.pt is a Python pickle .*refused and nothing in it was run"),
        ("torch pickle", r"suspect\.pt was refused and nothing in it was run: it holds more than"),
        ("nan", r"suspect\.pt: tensor 'weights\.0' has NaN or infinite numbers"),
        ("misfit", r"suspect\.pt does not fit the spec: .*3 layers \(1×8×8 → conv 6.*the file 1"),
        ("other spec", r"was not trained on such networks\. Given: 1×8×8 → conv 5.*It reads: 1×8×8 → conv 6"),
    ],
)
@pytest.mark.parametrize("verb", ["scan", "repair"])
def test_a_bad_weight_file_is_refused_and_never_run(
    verb: str,
    kind: str,
    message: str,
    place: Path,
    suspect: Path,
    tmp_path: Path,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, marker, out = tmp_path / "suspect.pt", tmp_path / "it-ran", tmp_path / "out.safetensors"
    monkeypatch.setenv("ZOOVET_TEST_BOMB", str(marker))
    _write_bad_file(kind, path, suspect)
    vetter = ["--detector", place / "detector"] if verb == "scan" else ["--repairer", place / "repairer", "--out", out]
    assert re.search(message, refused(verb, path, *vetter))
    assert not marker.exists()
    assert not out.exists()


def _write_bad_file(kind: str, path: Path, suspect: Path) -> None:
    if kind == "truncated":
        path.write_bytes(suspect.read_bytes()[:-40])
    elif kind == "text":
        path.write_text("these are no weights, whatever the name says", encoding="utf-8")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(_Bomb()))
    elif kind == "torch pickle":
        torch.save({"0.weight": torch.zeros(3), "0.bias": _Bomb()}, path)
    elif kind == "nan":
        content = bytearray(suspect.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        first = start + header["weights.0"]["data_offsets"][0]
        content[first : first + 4] = b"\x00\x00\xc0\x7f"
        path.write_bytes(content)
    elif kind == "misfit":
        torch.save({"0.weight": torch.zeros(3, 1, 3, 3), "0.bias": torch.zeros(3)}, path)
    elif kind == "other spec":
        spec = small_cnn("relu", input_shape=(1, 8, 8), channels=(5, 5))
        other = zoovet.Networks.from_flat(spec, torch.zeros(1, spec.num_parameters))
        zoovet.save_networks(other, path.with_suffix(".safetensors"))
        path.with_suffix(".safetensors").rename(path)


def test_a_missing_weight_file_is_refused_before_repair_claims_its_output(
    place: Path, suspect: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    words = ["repair", suspect, "--repairer", place / "repairer", "--out"]
    assert "is the input itself, which is never overwritten" in refused(*words, suspect)
    (tmp_path / "other.safetensors").write_text("precious", encoding="utf-8")
    assert "exists already; give another --out, or --force" in refused(*words, tmp_path / "other.safetensors")
    assert (tmp_path / "other.safetensors").read_text(encoding="utf-8") == "precious"
    assert "give a name that ends in .safetensors" in refused(*words, tmp_path / "healed.onnx")


def test_detector_and_repairer_are_not_taken_for_one_another(
    place: Path, suspect: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert "holds a repairer, but a detector is needed" in refused("scan", suspect, "--detector", place / "repairer")
    assert "there is no file or folder" in refused("scan", suspect, "--detector", tmp_path / "none")


@pytest.mark.parametrize("damage", ["truncated", "changed"])
@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_damaged_shard_is_named(
    verb: str, damage: str, place: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    shutil.copytree(place / "zoo", tmp_path / "zoo")
    shard = tmp_path / "zoo" / "shard-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content[:-100] if damage == "truncated" else content)
    out = tmp_path / "out"
    if verb == "train":
        words = ["train", place / "detection.yaml", "--data.zoo", tmp_path / "zoo", "--out", out]
    else:
        words = ["evaluate", place / "detector", "--zoo", tmp_path / "zoo", "--out", out]
    complaint = refused(*words)
    what = "is truncated or changed" if damage == "truncated" else "has the wrong checksum"
    assert complaint.startswith(f"the shard {shard} {what}")
    assert list(out.glob("*")) == []


def test_a_zoo_without_poisoned_networks_cannot_teach_detection(
    place: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    words = ["build", place / "recipe.yaml", "--out", tmp_path / "healthy", "--poisoned=false", "--num_bases=4"]
    assert main([str(word) for word in words]) == 0
    train = ["train", place / "detection.yaml", "--data.zoo", tmp_path / "healthy", "--out", tmp_path / "out"]
    assert re.search(r"zoo .*healthy has no poisoned networks", refused(*train))


def test_an_unwritable_or_foreign_place_is_refused_before_the_work_starts(
    place: Path, suspect: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "file").touch()
    inside = tmp_path / "file" / "out"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    for words in (
        ["build", place / "recipe.yaml"],
        ["train", place / "detection.yaml"],
        ["evaluate", place / "detector"],
        ["demo"],
    ):
        assert f"cannot write into {inside}: Not a directory; give another --out" == refused(*words, "--out", inside)
        assert str(tmp_path / "full") in refused(*words, "--out", tmp_path / "full")
    repair = ["repair", suspect, "--repairer", place / "repairer", "--out", inside / "healed.safetensors"]
    assert f"cannot write into {inside}: Not a directory" in refused(*repair)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_a_zoo_of_another_recipe_is_not_continued(place: Path, refused: Callable[..., str]) -> None:
    complaint = refused("build", place / "recipe.yaml", "--out", place / "zoo", "--seed", "2")
    assert complaint.startswith(f"{place / 'zoo'} holds a zoo of another recipe: seed is 1 there, 2 here")


def test_runs_are_not_evaluated_on_networks_they_may_have_been_trained_on(
    place: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    words = ["build", place / "recipe.yaml", "--out", tmp_path / "other", "--num_bases", "8", "--seed", "1"]
    assert main([str(word) for word in words]) == 0
    complaint = refused("evaluate", place / "detector", "--zoo", tmp_path / "other", "--out", tmp_path / "out")
    assert "was not trained on the training networks of" in complaint
    twice = refused("evaluate", place / "detector", place / "detector", "--out", tmp_path / "out")
    assert "are both detectors" in twice


def test_an_interrupted_build_ends_cleanly_and_is_finished_by_the_same_command(place: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zoovet", "build", str(place / "recipe.yaml"), "--out", str(tmp_path / "zoo")]
    command += ["--seed", "1", "--bases_per_shard", "1"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "zoo" / "shard-00000.parquet").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    kept = len(list((tmp_path / "zoo").glob("shard-*.parquet")))
    assert 1 <= kept < 12
    last = errors.splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert f"kept in {tmp_path / 'zoo'}; the same command goes on from there" in last
    assert main(command[3:]) == 0
    there, here = (zoovet.Zoo.open(path, verify=True) for path in (place / "zoo", tmp_path / "zoo"))
    assert torch.equal(there.weights(), here.weights())
