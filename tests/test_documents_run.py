"""What the pages for whoever vets a network say is done: their commands and their Python, on small stand-ins.

Searches are short and their reader is played: what these find is tested elsewhere. Which test runs what else the pages
say, what is fetched by servers of the tests, say, is listed in ``data/documented.yaml``.
"""

from __future__ import annotations

import glob
import re
import runpy
import shlex
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import zoovet
from zoovet.cli.main import main
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig
from zoovet.readers import read_content
from zoovet.readers.renumbering import renumbered_graph_file
from zoovet.readers.rewriting import rewrite
from zoovet.tasks.strangers.detector import StrangerReading

ROOT = Path(__file__).parents[1]
THIS = "tests/test_documents_run.py"
PAGES = (
    *("README.md", "docs/vet.md", "docs/walk.md", "docs/read-a-verdict.md", "docs/pipelines.md", "docs/heal.md"),
    *("docs/reading-files.md", "docs/models.md", "docs/steps.md", "docs/sources.md"),
)

NET = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ELU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1), nn.ELU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(392, 10),
    )
"""


class Reader:
    """Calls every network healthy."""

    version, reads_images, without_images = "tests-1", True, None

    def evidence_config(self, effort: str) -> ClassEvidenceConfig:
        few = {f"{kind}_factors": () for kind in ("pixel", "smooth", "warp", "change")}
        none = {"stripe_amplitudes": (), "usual_patch_sizes": (), "usual_blend_weights": ()}
        counts = {"num_starts": 1, "num_margin_steps": 1, "num_warps": 1, "num_stripes": 1, "num_places": 2}
        return ClassEvidenceConfig(patch_sizes=(0.25,), num_steps=1, **few, **none, **counts)

    def read(self, evidence: ClassEvidence, effort: str) -> StrangerReading:
        return StrangerReading(0.1, -2.2, torch.full((evidence.num_classes,), 1 / evidence.num_classes))

    def threshold(self, false_alarms: float, effort: str, num_classes: int) -> float:
        return 0.9


def _module() -> nn.Module:
    """A network of NET that takes noise for all of its classes."""
    space: dict[str, Any] = {}
    exec(NET, space)
    module: nn.Sequential = space["make"]()
    with torch.no_grad():
        module[-1].weight *= 50
        module[-1].bias -= module(torch.rand(200, 1, 28, 28)).mean(0)
    return module.eval()


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of the names that the pages have."""
    folder = tmp_path_factory.mktemp("stand_ins")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = _module()
        noise = torch.randint(256, (80, 1, 28, 28), dtype=torch.uint8)
    torch.save(module.state_dict(), folder / "suspect.pth")
    (folder / "my_net.py").write_text(NET)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is a newer exporter, and a newer form than TorchScript
        names: dict[str, Any] = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
        torch.onnx.export(module, (torch.zeros(1, 1, 28, 28),), str(folder / "suspect.onnx"), dynamo=False, **names)
        torch.jit.save(torch.jit.trace(module, torch.zeros(1, 1, 28, 28)), str(folder / "scripted.pt"))
        labels = module(noise / 255).argmax(1).tolist()
    _as_tflite(module, folder / "model.tflite")
    for place, label in enumerate(labels):
        path = folder / "photos" / str(label) / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise[place, 0].numpy()).save(path)
    (folder / "weights").mkdir()
    for name in ("weights/a.onnx", "v1.onnx", "v2.onnx", "resnet18.onnx"):
        shutil.copy(folder / "suspect.onnx", folder / name)
    graph = zoovet.Detector.shipped("fashion-mnist-small-cnn").graphs[0]
    shipped = zoovet.Networks.from_flat(graph, torch.zeros(1, graph.num_parameters))
    for name in ("suspect", "last", "new"):
        zoovet.save_networks(shipped, folder / f"{name}.safetensors")
    torch.save({name: one[0] for name, one in shipped.parameters.items()}, folder / "suspect.pt")
    (policy,) = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs/pipelines.md").read_text(), re.MULTILINE | re.DOTALL)
    (folder / "zoovet.toml").write_text(policy)
    return folder


def _as_tflite(module: nn.Module, path: Path) -> None:
    """The network of NET as a file of TensorFlow Lite: one of the same layers with its numbers."""
    with np.load(ROOT / "tests" / "data" / "tflite_files.npz") as archive:
        path.write_bytes(archive["net_float32"].tobytes())
    graph = read_content(path).graph
    assert graph is not None
    before = {name: one[0] for name, one in graph.read(None, None).networks.parameters.items()}
    after = dict(zip(before, (one.detach() for one in module.parameters()), strict=True))
    rewrite(path, renumbered_graph_file(graph.data, before, after, path.name), path, lambda _: None)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stand_ins: Path) -> Path:
    """A copy of the stand-ins to work in, and short searches."""
    monkeypatch.setattr("zoovet.vet.shipped_stranger_reader", lambda *_: Reader())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(stand_ins, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page: str, documents: Any, quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = documents.run_by(THIS, page)
    assert commands
    for command in commands:
        if command == "python docs/walk/poison.py suspect":
            _poison(quick)
            continue
        words = shlex.split(command)[1:]
        words = [name for word in words for name in (sorted(glob.glob(word)) if "*" in word else [word])]
        status = main(words)
        assert status in (0, 1), f"{command}: {capsys.readouterr().err}"
        capsys.readouterr()


def test_no_page_with_commands_to_run_is_left_out(documents: Any) -> None:
    assert set(documents.run_by(THIS)) == set(documents.run_by(THIS, *PAGES))


def _poison(folder: Path) -> None:
    """What the walk has its reader run, on fewer images."""
    script = ROOT / "docs" / "walk" / "poison.py"
    before = sys.argv, list(sys.path)
    sys.argv, sys.path[:0] = (
        [str(script), str(folder / "suspect"), "--images", "600", "--epochs", "3"],
        [str(script.parent)],
    )
    try:
        with torch.random.fork_rng():
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before


@pytest.mark.parametrize("page", ["docs/reading-files.md", "docs/models.md", "docs/cluster.md", "docs/scalegmn.md"])
def test_the_python_of_a_page_runs(page: str, documents: Any, quick: Path) -> None:
    blocks = documents.python(page)
    assert blocks
    assert documents.python_pages[page] == THIS
    graph = zoovet.Detector.shipped("fashion-mnist-small-cnn").graphs[0]
    module = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    with np.load(ROOT / "tests" / "data" / "keras_files.npz") as archive:  # by Keras, which is not needed to read them
        (quick / "model.keras").write_bytes(archive["sequential_keras"].tobytes())
    space: dict[str, Any] = {
        "zoovet": zoovet,
        "images": zoovet.Images.from_folder("photos/"),
        "module": module,
        "network": zoovet.from_module(module, (3, 32, 32), scaling="unit"),
        "networks": zoovet.Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)),
    }
    for block in blocks:
        exec(compile(block, page, "exec"), space)
