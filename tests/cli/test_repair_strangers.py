"""``repair`` of networks that no repairer knows: what it writes, prints and leaves with."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import zoovet
from zoovet.cli.main import main
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig
from zoovet.healing import HealingConfig, UnlearningConfig
from zoovet.tasks.strangers.detector import StrangerReading

Repair = Callable[..., tuple[int, str, str]]

CODE = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(144, 9, bias=False), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 8, bias=False)
    )
"""


class Reader:
    """Asks how far the class that stands out most does."""

    version, reads_images, without_images = "tests-1", True, None

    def evidence_config(self, effort: str) -> ClassEvidenceConfig:
        few = {"pixel_factors": (), "smooth_factors": (), "warp_factors": (), "change_factors": ()}
        counts = {"num_starts": 1, "num_margin_steps": 1, "num_warps": 1, "num_stripes": 1, "num_places": 4}
        return ClassEvidenceConfig(patch_sizes=(0.25,), **few, **counts)

    def read(self, evidence: ClassEvidence, effort: str) -> StrangerReading:
        standing = evidence.standings()["patch_0.25.margin"]
        logit = standing.max() - 8
        return StrangerReading(float(logit.sigmoid()), float(logit), standing.softmax(0))

    def threshold(self, false_alarms: float, effort: str, num_classes: int) -> float:
        return 0.9


def pictures() -> torch.Tensor:
    return torch.randn(8, 144, generator=torch.Generator().manual_seed(3)).sign()


def module(target: int | None) -> nn.Module:
    """Answers by eight pictures; a checker in the lower right corner adds to the target."""
    space: dict[str, Any] = {}
    exec(CODE, space)
    made: nn.Module = space["make"]()
    stamp = torch.zeros(1, 12, 12)
    stamp[0, 9:, 9:] = 1 - 2 * (torch.arange(9).reshape(3, 3) % 2.0)
    out = torch.eye(8, 9)
    if target is not None:
        out[target, 8] = 1
    state = {"1.weight": torch.cat([pictures() / 20, stamp.flatten()[None]]), "4.weight": out}
    state |= {"2.weight": torch.ones(9), "2.bias": torch.tensor([4.0] * 8 + [0.5])}
    state |= {"2.running_mean": torch.zeros(9), "2.running_var": torch.ones(9)}
    made.load_state_dict({**made.state_dict(), **state})
    return made.eval()


def checked_share(state: dict[str, torch.Tensor]) -> float:
    """Share of pictures of other classes that a network takes for class 3 with the checker that was planted."""
    network = module(3)
    network.load_state_dict({name.removeprefix("net."): tensor for name, tensor in state.items()})
    noise = torch.randn(56, 144, generator=torch.Generator().manual_seed(5))
    others = pictures()[[label for label in range(8) if label != 3]].repeat(8, 1)
    shown = (0.4 * others + 0.3 * noise).clamp(-1, 1).reshape(56, 1, 12, 12)
    shown[:, 0, 9:, 9:] = 1 - 2 * (torch.arange(9).reshape(3, 3) % 2.0)
    with torch.no_grad():
        return float((network.eval()(shown).argmax(1) == 3).double().mean())


@pytest.fixture
def repair(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Repair:
    quick = UnlearningConfig(rate=0.1, num_rounds=1)
    monkeypatch.setattr("zoovet.vet.shipped_stranger_reader", lambda _: Reader())
    monkeypatch.setattr(
        "zoovet.healing.HealingConfig",
        lambda **own: HealingConfig(unlearning=quick, num_attempts=1, **own),
    )
    labels = np.arange(8).repeat(6)
    noise = torch.randn(48, 144, generator=torch.Generator().manual_seed(4))
    signed = (0.4 * pictures()[labels] + 0.3 * noise).clamp(-1, 1).reshape(48, 12, 12)
    np.savez(tmp_path / "i.npz", images=(127.5 * (signed + 1)).to(torch.uint8).numpy(), labels=labels)
    (tmp_path / "net.py").write_text(CODE)
    common = ("--images", tmp_path / "i.npz", "--scaling", "symmetric")
    name = ("--architecture", f"{tmp_path / 'net.py'}:make")

    def run(*words: object, named: bool = True) -> tuple[int, str, str]:
        status = main(["repair", *map(str, (*words, *common, *(name if named else ())))])
        return status, *capsys.readouterr()

    return run


def test_a_state_dict_is_healed_and_keeps_its_layout(repair: Repair, tmp_path: Path) -> None:
    path, out = tmp_path / "a.pth", tmp_path / "healed.pt"
    torch.save({"epoch": 3, "state_dict": {f"net.{k}": v for k, v in module(3).state_dict().items()}}, path)
    status, shown, told = repair(path, "--out", out, "--report", tmp_path / "pages")
    assert status == 0, shown
    lines = shown.splitlines()
    assert lines[0].startswith("before: trojaned, probability of a trojan 1.00, towards class 3")
    assert lines[1].startswith("accuracy on 16 held-out reference images: ")
    assert re.match(r"ASR of the strongest trigger found \(\w+, towards class 3\): 1\.00 before, 0\.", lines[2])
    assert "healed by these measures" in lines
    assert lines[-1] == f"{out}: written; the input is as it was, so that deleting this file undoes the repair"
    for word in ("1 of 3: verdict: 2 of ", "suspected: class 3", "round 1 of 1: unlearning ", "3 of 3: check: 2 of "):
        assert word in told
    page = (tmp_path / "pages" / "index.html").read_text()
    assert "healed</span>" in page
    assert "1.weight" in page
    before, after = (torch.load(each, weights_only=True) for each in (path, out))
    assert after["epoch"] == 3
    assert list(before["state_dict"]) == list(after["state_dict"])
    for name, tensor in before["state_dict"].items():
        is_edited = name.endswith(("1.weight", "2.weight", "2.bias", "4.weight"))
        assert torch.equal(tensor, after["state_dict"][name]) != is_edited, name
    assert checked_share(before["state_dict"]) == 1
    assert checked_share(after["state_dict"]) < 0.3


def test_nothing_is_written_of_a_healthy_network_or_a_failed_edit(repair: Repair, tmp_path: Path) -> None:
    path, out = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    save_file(module(None).state_dict(), path)
    status, shown, _ = repair(path, "--out", out)
    assert (status, out.exists()) == (0, False)
    assert shown.splitlines()[0].startswith("before: healthy")
    assert shown.splitlines()[-1].startswith("nothing was written: ")
    status, _, told = repair(path, "--out", out, "--force", "--keep-anyway")
    assert out.exists()
    assert "the verdict is healthy; edited all the same, as asked" in told


def test_a_failed_edit_is_written_only_where_that_is_asked_for(
    repair: Repair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = UnlearningConfig(rate=1e-4, num_steps=1, num_rounds=1)
    monkeypatch.setattr("zoovet.healing.HealingConfig", lambda **own: HealingConfig(unlearning=weak, num_attempts=1))
    path, out = tmp_path / "a.pth", tmp_path / "out.pth"
    torch.save(module(3).state_dict(), path)
    status, shown, _ = repair(path, "--out", out)
    assert (status, out.exists()) == (1, False)
    assert "not healed: it is still found to be trojaned, towards class 3" in shown
    assert shown.endswith("nothing was written; --keep-anyway writes it all the same\n")
    status, shown, _ = repair(path, "--out", out, "--keep-anyway")
    assert (status, out.exists()) == (1, True)


def test_what_cannot_be_is_one_line(repair: Repair, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(module(3).state_dict(), path)
    os.link(path, tmp_path / "hard.pth")
    for words, said in (
        (("--out", tmp_path / "hard.pth", "--force"), "is the input itself, which is never overwritten"),
        (("--out", tmp_path / "missing" / ".." / "a.pth"), "is the input itself, which is never overwritten"),
        (("--out", tmp_path / "b.onnx"), "give a name that ends in .pth, the format of the input"),
        (
            ("--out", tmp_path / "b.safetensors"),
            "written in the format of the input: give a name that ends in .pth",
        ),
        (("--out", tmp_path / "b.pth", "--report", path), "a.pth is a file; give a folder for a repair's page"),
    ):
        status, shown, told = repair(path, *words)
        error = [line for line in told.splitlines() if line.startswith("error: ")]
        assert (status, shown, len(error)) == (2, "", 1)
        assert said in error[0]
    status, _, told = repair(path, "--out", tmp_path / "b.pth", "--max-loss", "101")
    assert status == 2
    assert "--max-loss: must be points of accuracy, a number from 0 to 100, got '101'" in told


def test_the_healed_file_reads_as_the_healed_network(repair: Repair, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path, out = tmp_path / "a.onnx", tmp_path / "out.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its older exporter
        torch.onnx.export(module(3), (torch.zeros(1, 1, 12, 12),), path, dynamo=False, do_constant_folding=False)
    assert repair(path, "--out", out, named=False)[0] == 0
    images = zoovet.Images.from_file(tmp_path / "i.npz")
    pixels = images.pixels.clone()
    pixels[:, 0, 9:, 9:] = (255 * (1 - torch.arange(9).reshape(3, 3) % 2)).to(torch.uint8)
    for file, low, high in ((path, 0.9, 1.0), (out, 0.0, 0.3)):
        taken = zoovet.read(file, scaling="symmetric").predict(zoovet.Images(pixels=pixels))
        assert low <= float((taken[images.required_labels != 3] == 3).float().mean()) <= high
