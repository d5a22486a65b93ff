"""What ``repair`` writes, prints and leaves with; nothing is ever half written."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zoovet
from zoovet.cli.main import main
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import SCALING_PRESETS, Networks, small_cnn, to_module
from zoovet.readers import load_networks, save_networks
from zoovet.tasks import TrainedRepairer
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import metanetwork_to_json
from zoovet.tasks.repairer import build_editor
from zoovet.vet import Repairer

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))
NETWORK = Networks.from_flat(GRAPH, torch.linspace(-1, 1, GRAPH.num_parameters)[None])

Repair = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def repairer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config, path = ScaleGMNConfig(width=2, num_layers=1, output="weights", out_scale=1.0), tmp_path_factory.mktemp("r")
    facts = {"metanetwork": metanetwork_to_json(config), "gate": None, "specs": [GRAPH.to_json()]}
    save_checkpoint(path / "r.safetensors", "repairer", build_editor(config, None, None, 0), facts)
    return path / "r.safetensors"


@pytest.fixture
def repair(repairer: Path, capsys: pytest.CaptureFixture[str]) -> Repair:
    def run(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["repair", *map(str, words), "--repairer", str(repairer)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A state dict, which does not say its activation."""
    torch.save({"net": to_module(NETWORK).state_dict()}, tmp_path / "plain.pt")
    return tmp_path / "plain.pt"


def lines(text: str, kind: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{kind}: ")]


def test_a_state_dict_keeps_its_layout(repair: Repair, plain: Path, repairer: Path, tmp_path: Path) -> None:
    status, shown, _ = repair(plain, "--scaling", "unit", "--out", tmp_path / "out.pt")
    assert status == 0
    assert shown.startswith(f"{tmp_path / 'out.pt'}: 1 network repaired; the weights changed by ")
    expected = TrainedRepairer.load(repairer).repair(NETWORK.with_scaling("unit"))
    assert not torch.equal(expected.flat(), NETWORK.flat())
    torch.testing.assert_close(load_networks(tmp_path / "out.pt", GRAPH).flat(), expected.flat())
    assert list(torch.load(tmp_path / "out.pt", weights_only=True)) == ["net"]


def test_an_architecture_and_images_say_what_a_file_leaves_open(repair: Repair, plain: Path, tmp_path: Path) -> None:
    images = {"images": np.zeros((4, 8, 8), np.uint8), "labels": np.arange(4)}
    np.savez(tmp_path / "own.npz", **images)
    words = ("--images", tmp_path / "own.npz", "--out", tmp_path / "out.pt", "--force")
    assert repair(plain, "--architecture", "small_cnn:activation=relu", *words)[0] == 0
    assert load_networks(tmp_path / "out.pt", GRAPH).graph == GRAPH
    status, _, errors = repair(plain, "--architecture", "small_cnn:activation=tanh", *words)
    assert status == 2
    assert lines(errors, "error")[0].endswith(": the repairer given does not know it")
    np.savez(tmp_path / "own.npz", images=images["images"])
    _, _, errors = repair(plain, *words)
    assert f"note: {tmp_path / 'own.npz'}: images without labels: no input scaling can be found on them" in errors
    _, _, errors = repair(plain, *words, "--scaling", "unit")
    assert "images without labels" not in errors
    np.savez(tmp_path / "own.npz", images=np.zeros((4, 9, 9, 3), np.uint8))
    status, _, errors = repair(plain, *words)
    assert status == 2
    assert (
        f"error: {plain}: the network reads images of 1×8×8 (channels, height, width), these are 3×9×9; "
        "--input-shape 1,8,8 brings reference images to that, in Python Images.from_file(PATH, (1, 8, 8))\n"
        == errors[errors.index("error: ") :]
    )


def test_a_file_with_several_networks_takes_images_and_an_architecture(repair: Repair, tmp_path: Path) -> None:
    save_networks(Networks.concatenate([NETWORK, NETWORK]), tmp_path / "two.safetensors")
    np.savez(tmp_path / "own.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4))
    words = ("--images", tmp_path / "own.npz", "--architecture", "small_cnn", "--out", tmp_path / "out.safetensors")
    status, shown, errors = repair(tmp_path / "two.safetensors", *words)
    assert (status, shown.split(": ")[1][:19]) == (0, "2 networks repaired")
    assert "it says itself what its network is; the architecture given was not used" in errors
    assert "input scaling not found on 4 labelled images for network 0, 1" in errors
    assert len(load_networks(tmp_path / "out.safetensors")) == 2


def test_the_input_is_never_overwritten_by_any_spelling(repair: Repair, plain: Path, tmp_path: Path) -> None:
    before = plain.read_bytes()
    (tmp_path / "soft.pt").symlink_to(plain)
    os.link(plain, tmp_path / "hard.pt")
    (tmp_path / "folder").mkdir()
    for out in (plain, tmp_path / "folder" / ".." / "plain.pt", tmp_path / "soft.pt", tmp_path / "hard.pt"):
        status, _, errors = repair(plain, "--out", out, "--force")
        assert status == 2
        assert errors == f"error: --out {out} is the input itself, which is never overwritten; give another --out\n"
    (tmp_path / "there.pt").touch()
    status, _, errors = repair(tmp_path / "missing.pt", "--out", tmp_path / "there.pt", "--force")
    assert (status, errors) == (2, f"error: {tmp_path / 'missing.pt'} does not exist\n")
    assert plain.read_bytes() == before


def test_names_of_files_are_shown_escaped(repair: Repair, plain: Path, tmp_path: Path) -> None:
    odd, out = tmp_path / "a\x1b[2J\n.pt", tmp_path / "b\x1b[2J\n.pt"
    plain.rename(odd)
    status, shown, errors = repair(odd, "--out", out)
    assert status == 0
    assert out.is_file()
    assert shown.startswith(f"{tmp_path}/b\\x1b[2J\\n.pt: 1 network repaired")
    assert f"note: {tmp_path}/a\\x1b[2J\\n.pt: " in errors
    assert "\x1b" not in shown + errors
    status, _, errors = repair(odd, "--out", out)
    assert (status, errors.count("\n"), "\x1b" in errors) == (2, 1, False)


def test_an_edit_that_is_no_number_leaves_nothing(
    repair: Repair, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(*rest: Any) -> list[Networks]:
        return [Networks.from_flat(GRAPH, torch.full_like(NETWORK.flat(), torch.nan))]

    monkeypatch.setattr("zoovet.tasks.repairer.edited_networks", edit)
    status, shown, errors = repair(plain, "--allow-unknown", "--out", tmp_path / "out.pt")
    assert (status, shown) == (2, "")
    assert errors.startswith(f"error: {plain}: what the repairer says of network 0 is not finite")
    assert [path.name for path in tmp_path.iterdir()] == ["plain.pt"]


def test_whatever_is_raised_is_one_line_with_status_2(
    repair: Repair, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*rest: Any) -> None:
        raise RuntimeError("nobody\nknew")

    monkeypatch.setattr("zoovet.readers.rewriting._put_numbers", fail)
    status, shown, errors = repair(plain, "--scaling", "unit", "--out", tmp_path / "out.pt")
    assert (status, shown) == (2, "")
    assert errors.startswith(f"error: {plain}: an error that zoovet did not foresee, RuntimeError: nobody\\nknew; ")
    assert [path.name for path in tmp_path.iterdir()] == ["plain.pt"]


def test_a_signal_ends_it_with_one_line_and_nothing_half_written(
    repair: Repair, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*rest: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    for place in ("zoovet.readers.rewriting._put_numbers", "zoovet.vet.repairer.load_suspects"):
        with monkeypatch.context() as patched:
            patched.setattr(place, end)
            status, shown, errors = repair(plain, "--scaling", "unit", "--out", tmp_path / "out.pt")
        assert (status, shown, errors) == (143, "", "ended by SIGTERM\n")
        assert [path.name for path in tmp_path.iterdir()] == ["plain.pt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
def test_what_was_written_stays_where_it_cannot_be_told(
    repair: Repair, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (plain, "--scaling", "unit", "--out", tmp_path / "out.pt", "--force")
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        status, _, errors = repair(*words)
    assert status == 2
    assert lines(errors, "error") == ["error: cannot write the results to standard output: No space left on device"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as pipe, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", pipe)
        status, _, errors = repair(*words)
    assert (status, lines(errors, "error")) == (2, [])
    assert load_networks(tmp_path / "out.pt", GRAPH).graph == GRAPH
    (tmp_path / "full.pt").symlink_to("/dev/full")
    status, _, errors = repair(plain, "--scaling", "unit", "--out", tmp_path / "full.pt", "--force")
    assert status == 2
    assert errors.count("\n") == 1


def test_the_command_says_what_python_does(repair: Repair, plain: Path, repairer: Path, tmp_path: Path) -> None:
    assert repair(plain, "--scaling", "symmetric", "--out", tmp_path / "out.pt")[0] == 0
    healed = Repairer(repairer).repair(from_file(plain))
    assert torch.equal(
        load_networks(tmp_path / "out.pt", GRAPH).weights[2][0], healed.networks.parameters["6.weight"][0]
    )


def from_file(path: Path) -> Any:

    network = zoovet.read(path, "small_cnn:activation=relu,image=8", SCALING_PRESETS["symmetric"])
    assert network.graph is not None
    return network
