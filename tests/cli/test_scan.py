"""What ``scan`` prints and leaves with, whatever the files hold and wherever its output goes."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.cli.main import main
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, small_cnn
from zoovet.readers import load_networks, save_networks
from zoovet.tasks import Detector
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json
from zoovet.vet import FileResult, Scanner

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))

Scan = Callable[..., int]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config, path = ScaleGMNConfig(width=2, num_layers=1), tmp_path_factory.mktemp("detector") / "own.safetensors"
    facts = {"metanetwork": metanetwork_to_json(config), "specs": [GRAPH.to_json()], "threshold": 0.5}
    save_checkpoint(path, "detector", build_metanetwork(config, 0, "detector"), facts)
    return path


@pytest.fixture
def scan(detector: Path, capsys: pytest.CaptureFixture[str]) -> Scan:
    """Run the verb with what was printed so far forgotten."""

    def run(*words: str | Path) -> int:
        capsys.readouterr()
        return main(["scan", *map(str, words), "--detector", str(detector)])

    return run


@pytest.fixture
def good(tmp_path: Path) -> Path:
    flat = torch.linspace(-1, 1, GRAPH.num_parameters)[None]
    save_networks(Networks.from_flat(GRAPH, flat), tmp_path / "good.safetensors")
    return tmp_path / "good.safetensors"


def test_exit_status_1_means_trojaned_or_unknown_and_nothing_else(
    scan: Scan, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan(good, "--threshold", "1") == 0
    assert scan(good, "--threshold", "0") == 1
    assert scan(good, good.with_name("none"), "--threshold", "0") == 2

    def fail(*_: object) -> None:
        raise RuntimeError("nobody\nknew")

    monkeypatch.setattr("zoovet.vet.scanner.load_suspects", fail)
    assert scan(good) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {good}: an error that zoovet did not foresee, RuntimeError: nobody\\nknew; ZOOVET_")
    monkeypatch.setenv("ZOOVET_TRACEBACK", "1")
    assert scan(good) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_unknown_and_null(
    value: float, scan: Scan, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Detector, "score", lambda _, networks: torch.full((len(networks),), value))
    assert scan(good, "--json") == 1
    shown = capsys.readouterr()
    (verdict,) = json.loads(shown.out, parse_constant=pytest.fail)["verdicts"]
    assert (verdict["score"], verdict["verdict"]) == (None, "unknown")
    assert "note: 1 network is unknown: its score is not a finite number" in shown.err
    assert scan(good) == 1
    assert capsys.readouterr().out.splitlines()[1].split()[-3:] == ["–", "0.5000", "unknown"]


def test_networks_whose_numbers_overflow_are_unknown(
    scan: Scan, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = torch.full((1, GRAPH.num_parameters), 3e38)
    save_networks(Networks.from_flat(GRAPH, flat), tmp_path / "huge.safetensors")
    assert scan(good, tmp_path / "huge.safetensors", "--json", "--threshold", "1") == 1
    verdicts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["verdicts"]
    assert [verdict["verdict"] for verdict in verdicts] == ["healthy", "unknown"]


def state_dict(path: Path) -> dict[str, torch.Tensor]:
    """As another program would have written the network."""
    networks, state = load_networks(path), dict[str, torch.Tensor]()
    for index, (weight, bias) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        state |= {f"{index}.weight": weight[0], f"{index}.bias": bias[0]}
    return state


def test_names_are_shown_escaped_and_json_is_utf_8(
    scan: Scan, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / os.fsdecode(b"[red]\xff\x1b[2J\n.pt")
    with odd.open("wb") as file:
        torch.save(state_dict(good), file)
    assert scan(odd, "--threshold", "1") == 0
    shown = capsys.readouterr().out
    assert r"[red]\udcff\x1b[2J\n.pt" in shown
    assert "\x1b" not in shown
    assert scan(odd, odd.with_suffix(".none"), "--json") == 2
    out = capsys.readouterr().out
    data = json.loads(out)
    out.encode("utf-8")
    assert data["verdicts"][0]["file"].endswith("[red]\\xff\x1b[2J\n.pt")
    data["errors"][0]["file"].encode("utf-8")
    assert data["errors"][0]["error"].isprintable()


def test_a_file_given_twice_is_scanned_once_and_a_folder_without_weight_files_is_refused(
    scan: Scan, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert scan(good, good, tmp_path / "empty", tmp_path / "empty", "--json") == 2
    data = json.loads(capsys.readouterr().out)
    assert [verdict["file"] for verdict in data["verdicts"]] == [str(good)]
    (error,) = data["errors"]
    assert error["error"] == f"{tmp_path / 'empty'}: it holds no weight file"


def test_an_interrupted_scan_prints_what_was_found(
    scan: Scan, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    true_scan = Scanner.scan_files

    def interrupted(self: Scanner, files: list[Path], **options: Any) -> Iterator[FileResult]:
        yield from true_scan(self, files[:1], **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Scanner, "scan_files", interrupted)
    pages, bom = tmp_path / "pages", tmp_path / "bom.json"
    assert scan(good, good.with_name("other"), "--json", "--report", pages, "--bom", bom) == 130
    shown = capsys.readouterr()
    printed = json.loads(shown.out)
    assert (printed["is_whole"], len(printed["verdicts"])) == (False, 1)
    assert "The scan was ended before it came to its end" in (pages / "index.html").read_text(encoding="utf-8")
    said = json.loads(bom.read_text(encoding="utf-8"))["metadata"]["properties"]
    assert said == [{"name": "zoovet:is_whole", "value": "false"}]
    assert shown.err.endswith("\ninterrupted: 1 of 2 files were scanned\n")


class FullDisk(io.RawIOBase):
    """Takes no byte."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_results_that_cannot_be_written_are_an_error(
    scan: Scan, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["--json"]):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", io.TextIOWrapper(FullDisk(), encoding="utf-8", write_through=True))
            assert scan(good, *words) == 2
        assert capsys.readouterr().err == (
            "error: cannot write the results to standard output: No space left on device\n"
        )
    monkeypatch.setattr(sys, "stdout", None)
    assert scan(good) == 2
    monkeypatch.undo()
    assert capsys.readouterr().err == "error: cannot write the results: standard output is closed\n"


def test_a_reader_that_left_is_no_verdict(scan: Scan, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert scan(good, "--threshold", "0") == 2
        monkeypatch.undo()


def test_a_terminal_without_unicode_gets_escapes(scan: Scan, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="ascii") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert scan(good, "--threshold", "1") == 0
        monkeypatch.undo()
    with os.fdopen(reading, encoding="ascii") as shown:
        assert r"\u2013" in shown.read()


def test_a_network_that_is_told_by_its_architecture_ends_with_a_line_and_status_2(
    scan: Scan, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, stranger = tmp_path / "own.npz", tmp_path / "stranger.pt"
    np.savez(images, images=np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8), labels=np.arange(4) % 3)
    weights = {"fc1": torch.ones(5, 64), "fc2": torch.ones(3, 5)}
    torch.save({f"{name}.weight": tensor for name, tensor in weights.items()}, stranger)
    assert scan(stranger, good, "--architecture", "mlp:activation=relu", "--images", images, "--threshold", "1") == 2
    printed = capsys.readouterr()
    assert "healthy" in printed.out
    (line,) = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {stranger}: MLP 64-5-3, 335 parameters, reads 1×8×8; input scaling not found on 4 ")
    assert line.endswith(": the detector given does not know it")
    assert scan(stranger, "--architecture", "mpl") == 2
    assert "'mpl' is unknown; did you mean 'mlp'" in capsys.readouterr().err
    assert scan(stranger, "--images", tmp_path / "none") == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'none'} cannot be read: ")


def test_a_signal_ends_a_scan_with_what_was_found_and_one_line(
    scan: Scan, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    true_scan = Scanner.scan_files

    def ended(self: Scanner, files: list[Path], **options: Any) -> Iterator[FileResult]:
        yield from true_scan(self, files[:1], **options)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Scanner, "scan_files", ended)
    assert scan(good, good.with_name("other"), "--scaling", "unit", "--json") == 143
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)["verdicts"]) == 1
    assert shown.err.endswith("\nended by SIGTERM: 1 of 2 files were scanned\n")


def test_code_of_an_architecture_that_ends_the_program_ends_one_file(
    scan: Scan, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(state_dict(good), tmp_path / "plain.pt")
    np.savez(tmp_path / "own.npz", images=np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "net.py").write_text("import sys\ndef make():\n    sys.exit(0)\n", encoding="utf-8")
    words = ("--architecture", f"{tmp_path / 'net.py'}:make", "--images", tmp_path / "own.npz", "--threshold", "1")
    assert scan(tmp_path / "plain.pt", good, *words, "--json") == 2
    data = json.loads(capsys.readouterr().out)
    assert [verdict["file"] for verdict in data["verdicts"]] == [str(good)]
    assert "make failed, SystemExit: 0" in data["errors"][0]["error"]
