"""``scan`` of folders and of a hub: names, what is left out, what the repository says, all in every output."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from zoovet import Images
from zoovet.cli.main import main
from zoovet.cli.sources import groups_by_hint, named
from zoovet.fetching import Gathered, Hint, Skipped, WeightFile
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import InputScaling, Networks, small_cnn
from zoovet.readers import save_networks
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json
from zoovet.vet import Failure, FileResult, ReadOptions

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "scan.schema.json").read_text(encoding="utf-8"))
GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))
Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two networks and a text in folders."""
    for name in ("a.safetensors", "deep/b.safetensors"):
        path = tmp_path / "nets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_networks(Networks.from_flat(GRAPH, torch.linspace(-1, 1, GRAPH.num_parameters)[None]), path)
    (tmp_path / "nets" / "README.md").write_text("# nets", encoding="utf-8")
    return tmp_path / "nets"


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    config = ScaleGMNConfig(width=2, num_layers=1)
    facts = {"metanetwork": metanetwork_to_json(config), "specs": [GRAPH.to_json()], "threshold": 1.0}
    save_checkpoint(tmp_path / "own.st", "detector", build_metanetwork(config, 0, "detector"), facts)

    def scan(*words: str | Path) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        status = main(["scan", *map(str, words), "--json", "--detector", str(tmp_path / "own.st")])
        shown = capsys.readouterr()
        return status, json.loads(shown.out), shown.err

    return scan


def test_a_folder_is_scanned_with_all_below_it(run: Run, folder: Path) -> None:
    status, data, said = run(folder, folder / "a.safetensors")
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    assert status == 0
    files = [str(folder / name) for name in ("a.safetensors", "deep/b.safetensors")]
    assert [row["file"] for row in data["verdicts"]] == files
    assert data["skipped"] == [{"file": str(folder), "reason": "1 file whose name is no weight file's: 1 .md"}]
    assert f"skipped: {folder}: 1 file whose name is" in said


def test_what_was_gathered_keeps_its_name_in_every_output(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "hf://own/net@v1/a.safetensors"
    (tmp_path / "broken").write_bytes(b"broken")
    found = Gathered(
        files=(
            WeightFile(path=folder / "a.safetensors", name=name, notes=("fetched",)),
            WeightFile(path=tmp_path / "broken", name="hf://own/net/b.onnx"),
        ),
        skipped=(Skipped(name="hf://own/net/c.bin", reason="a pickle"),),
        failures=(("hf://own/none", "there is no such repository"),),
    )
    monkeypatch.setattr("zoovet.fetching.gathered", lambda *_, **__: found)
    outputs = ["--sarif", tmp_path / "log.sarif", "--bom", tmp_path / "bom.json", "--junit", tmp_path / "scan.xml"]
    status, data, said = run(name, "hf://own/none", *outputs)
    assert status == 2
    assert [row["file"] for row in data["verdicts"]] == [name]
    assert [row["file"] for row in data["errors"]] == ["hf://own/net/b.onnx", "hf://own/none"]
    assert data["errors"][0]["error"].startswith("hf://own/net/b.onnx ")
    assert data["errors"][1]["error"] == "hf://own/none: there is no such repository"
    assert data["notes"][0] == {"file": name, "note": "fetched"}
    assert "skipped: hf://own/net/c.bin: a pickle" in said
    log = json.loads((tmp_path / "log.sarif").read_text(encoding="utf-8"))
    assert log["runs"][0]["artifacts"][0]["location"]["uri"] == name
    components = json.loads((tmp_path / "bom.json").read_text(encoding="utf-8"))["components"]
    (own,) = [one for one in components if one["bom-ref"] == f"{name}#0"]
    assert len(own["hashes"][0]["content"]) == 64


def test_files_are_read_as_their_repositories_say_unless_the_user_does(tmp_path: Path) -> None:
    hint = Hint(architecture="timm:a", mean=(0.5,), deviation=(0.2,), input_shape=(1, 8, 8), notes=("read as a",))
    hints = {"a": hint, "b": None, "c": hint}
    files = [WeightFile(path=tmp_path / name, name=name, hint=own) for name, own in hints.items()]
    (first, notes, group), (second, none, rest) = groups_by_hint(files, ReadOptions())
    assert (first.architecture, first.input_shape, notes) == ("timm:a", (1, 8, 8), hint.notes)
    assert first.scaling == InputScaling(mean=(0.5,), deviation=(0.2,))
    assert ([file.name for file in group], second, none, [file.name for file in rest]) == (
        ["a", "c"],
        ReadOptions(),
        (),
        ["b"],
    )
    own = ReadOptions(architecture="resnet20")
    assert groups_by_hint(files, own) == [(own, (), files)]
    scaled = ReadOptions(scaling=InputScaling())
    assert groups_by_hint(files[:1], scaled)[0][0].scaling == InputScaling()


def test_a_result_goes_by_the_name_that_its_file_is_called(tmp_path: Path) -> None:
    path = tmp_path / "x"
    result = FileResult(0, str(path), (), Failure(f"{path} is no weight file"), ("own",))
    found = named(result, WeightFile(path=path, name="s3://a/x", notes=("fetched",)), 4, ("hinted",))
    assert (found.place, found.file, found.notes) == (4, "s3://a/x", ("fetched", "own"))
    assert found.failure == Failure("s3://a/x is no weight file; hinted")
    read = named(replace(result, failure=None), WeightFile(path=path, name="x", notes=("fetched",)), 4, ("hinted",))
    assert read.notes == ("fetched", "hinted", "own")


def test_images_of_another_size_than_the_repository_says_win(tmp_path: Path) -> None:
    images = Images.from_arrays(np.zeros((1, 4, 4), np.uint8))
    files = [WeightFile(path=tmp_path, name="a", hint=Hint(input_shape=(1, 8, 8)))]
    assert groups_by_hint(files, ReadOptions(images=images))[0][0].input_shape is None


def test_a_refusal_says_what_its_repository_says_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    failed = FileResult(0, str(path), (), Failure(f"{path} fits no architecture"))
    found = named(failed, WeightFile(path=path, name="hf://a/x"), 0, ("config.json says ViT: pip install it",))
    assert found.failure is not None
    assert found.failure.message == "hf://a/x fits no architecture; config.json says ViT: pip install it"
    assert found.notes == ()
