"""What the page on published datasets says is done, on small replicas of these."""

from __future__ import annotations

import math
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import zoovet
from zoovet.cli.main import main
from zoovet.networks import small_cnn
from zoovet.zoo import Zoo

THIS = "tests/zoo/importers/test_documents.py"


def _resnet20() -> dict[str, torch.Tensor]:
    """A state dict under the usual names."""
    shapes = {"conv1": (16, 3, 3, 3), "bn1": (16,), "linear": (10, 64)}
    incoming = 16
    for stage, width in enumerate((16, 32, 64), start=1):
        for block in range(3):
            name = f"layer{stage}.{block}"
            shapes |= {f"{name}.conv1": (width, incoming, 3, 3), f"{name}.conv2": (width, width, 3, 3)}
            shapes |= {f"{name}.bn1": (width,), f"{name}.bn2": (width,)}
            if incoming != width:
                shapes |= {f"{name}.shortcut.0": (width, incoming, 1, 1), f"{name}.shortcut.1": (width,)}
            incoming = width
    generator, state = torch.Generator().manual_seed(0), {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = (
            torch.rand(shape, generator=generator)
            if len(shape) == 1
            else torch.randn(shape, generator=generator) / math.prod(shape[1:]) ** 0.5
        )
        if len(shape) == 1:
            state |= {f"{name}.bias": torch.zeros(shape), f"{name}.running_mean": torch.zeros(shape)}
            state |= {f"{name}.running_var": torch.ones(shape), f"{name}.num_batches_tracked": torch.tensor(9)}
    return {**state, "linear.bias": torch.zeros(10)}


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    small_cnn_zoo: Path,
    split_file: Path,
    trojan_cnn_zoo: Path,
    mnist_inr: Path,
    fmnist_inr: Path,
    cifar_inr: Path,
    documents: Any,
) -> Path:
    """A folder with the datasets where the page has them, and the table and the networks that it shows."""
    work = tmp_path / "work"
    (work / "nets").mkdir(parents=True)
    (work / "data").mkdir()
    shutil.copy(split_file, work / "data" / "cifar10_split.csv")
    places = {"cifar10": small_cnn_zoo, "trojan-cifar10": trojan_cnn_zoo, "mnist-inrs": mnist_inr}
    for name, folder in {**places, "fmnist_inrs": fmnist_inr, "siren_cifar_wts": cifar_inr}.items():
        shutil.copytree(folder, work / "data" / name)
    state = _resnet20()
    text = (documents.root / "docs" / "importing.md").read_text(encoding="utf-8")
    table = [
        line[4:] for line in text.splitlines() if line.startswith(("    file,", "    a.pt", "    b.pt", "    c.pt"))
    ]
    assert len(table) == 4
    (work / "labels.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    for name in "abc":
        torch.save(state, work / "nets" / f"{name}.pt")
    monkeypatch.chdir(work)
    return work


def test_the_commands_and_the_python_of_the_page_run(
    documents: Any, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = documents.run_by(THIS)
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command)[1:]
        assert main(words) == 0, f"{command}: {capsys.readouterr().err}"
        out = Path(words[words.index("--out") + 1])
        assert len(Zoo.open(out)) > 2
        shutil.rmtree(out)
    graph = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))
    networks = zoovet.Networks.from_flat(graph, torch.zeros(3, graph.num_parameters))
    space: dict[str, Any] = {"networks": networks}
    blocks = documents.python("docs/importing.md")
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, "importing.md", "exec"), space)
    assert space["zoo"].labelled.tolist() == [True, True, False]
