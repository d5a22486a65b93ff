"""Checkpoints come back exactly, and what is no checkpoint is refused with its name and without running code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zoovet.errors import ZoovetError
from zoovet.tasks.checkpoints import CHECKPOINT_NAME, load_checkpoint, save_checkpoint


class Explosive:
    """Unpickling it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def two_layers(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


def test_a_checkpoint_comes_back_exactly(tmp_path: Path) -> None:
    module = two_layers()
    path = tmp_path / CHECKPOINT_NAME
    save_checkpoint(path, "detector", module, {"threshold": 0.1 + 0.2, "specs": []})
    for place in (path, tmp_path, str(tmp_path)):
        checkpoint = load_checkpoint(place, "detector")
        other = two_layers()
        checkpoint.load_into(other)
        assert all(
            torch.equal(a, b) for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True)
        )
        assert checkpoint.get("threshold") == 0.1 + 0.2
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT_NAME]


def test_numbers_of_a_description_are_numbers(tmp_path: Path) -> None:
    said = {"threshold": 0.25, "calibration": [1.5, -0.5], "strength": "1.2", "bad": [1.0, None], "many": [1.0, 2.0]}
    save_checkpoint(tmp_path / CHECKPOINT_NAME, "detector", two_layers(), said)
    checkpoint = load_checkpoint(tmp_path, "detector")
    assert checkpoint.numbers("threshold") == (0.25,)
    assert checkpoint.numbers("calibration", 2, default=(1.0, 0.0)) == (1.5, -0.5)
    assert checkpoint.numbers("num_members", default=(1,)) == (1,)
    for key, count, message in (
        ("strength", 1, r"'strength' should be a finite number, got '1\.2'"),
        ("bad", 2, r"'bad' should be 2 finite numbers, got \[1\.0, None\]"),
        ("many", 1, r"'many' should be a finite number, got \[1\.0, 2\.0\]"),
        ("missing", 1, "lacks 'missing'"),
    ):
        with pytest.raises(ZoovetError, match=message):
            checkpoint.numbers(key, count)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"the folder .* has no checkpoint.safetensors; give the folder of a run"):
        load_checkpoint(tmp_path, "detector")
    with pytest.raises(ZoovetError, match=r"there is no file or folder .*nowhere"):
        load_checkpoint(tmp_path / "nowhere", "detector")


def test_a_checkpoint_for_something_else_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / CHECKPOINT_NAME, "repairer", two_layers(), {})
    with pytest.raises(ZoovetError, match="holds a repairer, but a detector is needed"):
        load_checkpoint(tmp_path, "detector")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT_NAME
    save_checkpoint(path, "detector", two_layers(), {})
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ZoovetError, match=r"checkpoint.safetensors is damaged or no checkpoint"):
            load_checkpoint(path, "detector")


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    path, trace = tmp_path / CHECKPOINT_NAME, tmp_path / "trace"
    path.write_bytes(pickle.dumps(Explosive(trace)))
    with pytest.raises(ZoovetError, match="is damaged or no checkpoint"):
        load_checkpoint(path, "detector")
    assert not trace.exists()


def test_weights_without_a_description_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ZoovetError, match="holds weights but no description by zoovet"):
        load_checkpoint(path, "detector")
    save_file({"weight": torch.zeros(2)}, path, metadata={"zoovet": "{"})
    with pytest.raises(ZoovetError, match=r"the description in .*weights\.safetensors cannot be read as JSON"):
        load_checkpoint(path, "detector")


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({}, path, metadata={"zoovet": json.dumps({"format_version": 99, "kind": "detector"})})
    with pytest.raises(ZoovetError, match="has format version 99; this zoovet reads 1"):
        load_checkpoint(path, "detector")


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / CHECKPOINT_NAME, "detector", two_layers(), {})
    checkpoint = load_checkpoint(tmp_path, "detector")
    with pytest.raises(ZoovetError, match=r"lacks tensor '2.bias': it does not fit"):
        checkpoint.load_into(nn.Sequential(*two_layers(), nn.Linear(3, 1)))
    with pytest.raises(ZoovetError, match=r"has the unknown tensor '1.bias'"):
        checkpoint.load_into(nn.Sequential(nn.Linear(2, 3)))
    with pytest.raises(ZoovetError, match=r"tensor '0.weight' has the shape \[3, 2\], .* needs \[4, 2\]"):
        checkpoint.load_into(two_layers(4))
    with pytest.raises(ZoovetError, match="its description lacks 'threshold'"):
        checkpoint.get("threshold")
