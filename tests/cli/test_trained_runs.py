"""Runs are recognised by what training left in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoovet.cli.trained_runs import CutShort, TrainedRun, by_kind
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "must hold a JSON object, got a list"),
        ("{}", "is damaged: the key 'zoo' is missing"),
        ('{"kind": "detector", "finished": true, "zoo": 3}', "is damaged: 'zoo' must be an object, got an integer"),
        ('{"kind": ["detector"], "zoo": {}}', "is damaged: 'kind' must be a text, got a list"),
    ],
)
def test_a_damaged_run_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(ZoovetError, match=rf"run\.json {message}"):
        TrainedRun.read(tmp_path)


def test_a_finished_run_says_how_long_it_took(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run", "classifier")
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**facts, "seconds": 12.5, "canonicalized": True}), encoding="utf-8")
    run = TrainedRun.read(folder)
    assert run.seconds == 12.5
    assert run.facts["canonicalized"] is True


def test_a_run_that_its_time_limit_cut_short_says_so(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run", "inr_editor")
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    limit = {"steps": 37, "max_steps": 400, "max_minutes": 1.5}
    (folder / "run.json").write_text(json.dumps({**facts, "cut_short": limit}), encoding="utf-8")
    cut_short = TrainedRun.read(folder).cut_short
    assert cut_short == CutShort(run=str(folder), kind="inr_editor", **limit)
    assert cut_short.describe() == (
        f"cut short: the training of the inr editor in {folder} did 37 of 400 steps before its time was up "
        "(training.max_minutes 1.5); its figures depend on the machine's speed and load"
    )
    (folder / "run.json").write_text(json.dumps({**facts, "cut_short": {"steps": "37"}}), encoding="utf-8")
    with pytest.raises(ZoovetError, match=r"run\.json is damaged: 'steps' must be an integer, got a text"):
        TrainedRun.read(folder)
    (folder / "run.json").write_text(json.dumps({**facts, "cut_short": None}), encoding="utf-8")
    assert TrainedRun.read(folder).cut_short is None


def test_runs_are_sorted_by_kind(tmp_path: Path) -> None:
    kinds = (("a", "detector"), ("b", "repairer"), ("c", "classifier"), ("d", "classifier"))
    runs = [TrainedRun.read(_run(tmp_path / name, kind)) for name, kind in kinds]
    assert by_kind(runs) == {"detector": [runs[0]], "repairer": [runs[1]], "classifier": runs[2:]}
    more = TrainedRun.read(_run(tmp_path / "e", "detector"))
    with pytest.raises(ZoovetError, match=r"a and .*e are both detectors; evaluate one at a time"):
        by_kind([*runs, more])
    unknown = TrainedRun.read(_run(tmp_path / "f", "detectro"))
    with pytest.raises(ZoovetError, match=r"f is a run of the unknown kind 'detectro'; did you mean 'detector'\?"):
        by_kind([unknown])
