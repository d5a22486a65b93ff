"""Runs are recognised by what training left in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoovet.cli.trained_runs import TrainedRun, one_of_each
from zoovet.errors import ZoovetError


def _run(folder: Path, kind: str) -> Path:
    folder.mkdir()
    facts = {"kind": kind, "finished": True, "zoo": {"path": "/zoos/a", "train_fingerprint": "abc", "num_train": 3}}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run", "detector")
    assert TrainedRun.read(folder) == TrainedRun(folder, "detector", True, Path("/zoos/a"), "abc")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(
            ZoovetError, match=r"is no training run: it has no run\.json; give a folder of `zoovet train`"
        ):
            TrainedRun.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "detector", "finished": true, "zoo": 3}'])
def test_a_damaged_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(ZoovetError, match=r"run\.json is damaged"):
        TrainedRun.read(tmp_path)


def test_there_is_one_run_of_each_kind(tmp_path: Path) -> None:
    runs = [TrainedRun.read(_run(tmp_path / name, kind)) for name, kind in (("a", "detector"), ("b", "repairer"))]
    assert one_of_each(runs) == {"detector": runs[0], "repairer": runs[1]}
    more = TrainedRun.read(_run(tmp_path / "c", "detector"))
    with pytest.raises(ZoovetError, match=r"a and .*c are both detectors; evaluate one at a time"):
        one_of_each([*runs, more])
