"""What the documents say of fetching is done: from a hub, an address and a bucket on this machine."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import zoovet
from zoovet.cli.main import main
from zoovet.networks import to_module

THIS = "tests/fetching/test_documents.py"


class Scaled(nn.Sequential):
    """Brings [0, 1] to the [-1, 1] that the shipped detectors' networks read."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(2 * images - 1)


@pytest.fixture
def known(tmp_path: Path) -> dict[str, bytes]:
    """A network that a shipped detector knows, as safetensors and as ONNX."""
    graph = zoovet.Detector.shipped("fashion-mnist-small-cnn").graphs[0]
    networks = zoovet.Networks.from_flat(graph, torch.linspace(-1, 1, graph.num_parameters)[None])
    zoovet.save_networks(networks, tmp_path / "own.safetensors")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is a newer exporter
        names: dict[str, Any] = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
        module = Scaled(to_module(networks)).eval()
        torch.onnx.export(module, (torch.zeros(1, 1, 28, 28),), str(tmp_path / "own.onnx"), dynamo=False, **names)
    return {ending: (tmp_path / f"own.{ending}").read_bytes() for ending in ("safetensors", "onnx")}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: dict[str, bytes]) -> Path:
    """A folder with images, and weights of one's own."""
    work = tmp_path / "work"
    for label in range(10):
        path = work / "photos" / str(label) / "1.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((28, 28), 20 * label, np.uint8)).save(path)
    (work / "weights").mkdir()
    (work / "weights" / "a.safetensors").write_bytes(known["safetensors"])
    monkeypatch.chdir(work)
    monkeypatch.setattr("zoovet.vet.shipped_stranger_reader", lambda *_: None)  # seeking is tested elsewhere
    return work


@pytest.mark.filterwarnings("default")
def test_what_is_said_of_fetching_is_done(
    documents: Any, here: Path, hub: Any, s3: Any, known: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    commands = documents.run_by(THIS)
    assert len(commands) >= 5
    hub.repositories["OWNER/NAME"] = {"model.safetensors": known["safetensors"], "onnx/model.onnx": known["onnx"]}
    hub.revisions.add("v1.0")
    hub.repositories["example/org"] = {"net.onnx": known["onnx"]}
    for bucket in ("bucket", "my-bucket"):
        s3.pipe_file(f"{bucket}/nets/deep/a.onnx", known["onnx"])
    digest = hashlib.sha256(known["onnx"]).hexdigest()
    for command in commands:
        said = command.replace("https://example.org/", f"{hub.url}/example/org/resolve/main/")
        words = shlex.split(re.sub("sha256=[0-9a-f]{64}", f"sha256={digest}", said))
        assert main([*words[1:], "--json"]) == 1, (
            f"{command}: {capsys.readouterr().err}"
        )  # no training leaves such weights
        found = json.loads(capsys.readouterr().out)
        assert [row["verdict"] for row in found["verdicts"]] == ["unknown"] * len(found["verdicts"])
        for source in (word.removesuffix("/") for word in words[2:] if "://" in word):
            assert any(row["file"].startswith(source.split("#")[0]) for row in found["verdicts"]), (source, found)
