from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zoovet.cli.main import main
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, small_cnn
from zoovet.readers import save_networks
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., int]:
    """The verb on two versions, of which the second has other biases in its first layer."""
    config = ScaleGMNConfig(width=2, num_layers=1)
    facts = {"metanetwork": metanetwork_to_json(config), "specs": [GRAPH.to_json()], "threshold": 0.5}
    save_checkpoint(tmp_path / "own.st", "detector", build_metanetwork(config, 0, "detector"), facts)
    before = Networks.from_flat(GRAPH, torch.linspace(-1, 1, GRAPH.num_parameters)[None])
    biases = (1.5 * before.biases[0], *before.biases[1:])
    save_networks(before, tmp_path / "a.safetensors")
    save_networks(Networks.from_layers(GRAPH, before.weights, biases), tmp_path / "b.safetensors")
    files = [str(tmp_path / name) for name in ("a.safetensors", "b.safetensors")]
    return lambda *words: main(["compare", *files, "--detector", str(tmp_path / "own.st"), *words])


def test_what_changed_and_both_verdicts_are_shown(
    compare: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare("--threshold", "1") == 0
    first, second, _, head, *rows = capsys.readouterr().out.splitlines()
    assert first == "1 of 6 tensors changed"
    assert second == "  biases.0  1×3, by 50.00%"
    assert head.split()[-1] == "verdict"
    assert [row.split()[-1] for row in rows] == ["healthy", "healthy"]
    assert compare("--threshold", "0") == 1, "the second version is flagged"
    assert compare("--no-verdicts", "--json", "--threshold", "0") == 0


def test_json_says_it_all(compare: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert compare("--json", "--threshold", "0") == 1
    data = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [row["verdict"] for row in data["verdicts"]] == ["trojaned", "trojaned"]
    assert {row["name"]: row["change"] for row in data["tensors"]}["biases.0"] == pytest.approx(0.5)
    assert data["answers"] is None
    assert "give reference images" in data["notes"][-1]["note"]


def test_a_version_that_cannot_be_read_is_one_line(
    compare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.safetensors").write_bytes(b"broken")
    assert compare() == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: {tmp_path / 'b.safetensors'} ")
