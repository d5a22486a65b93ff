"""TorchScript files: what must be said of them, what they answer, and how their numbers are written anew."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import zoovet
from zoovet.errors import ZoovetError
from zoovet.networks import run
from zoovet.readers import load_networks, read_content
from zoovet.readers.renumbering import placed_names, renumbered_graph_file
from zoovet.readers.rewriting import rewrite
from zoovet.readers.torchscript import read_torchscript

Saved = Callable[..., Path]
Changed = Callable[[Path, Callable[[dict[str, bytes]], None]], Path]


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(True), nn.Flatten(), nn.Linear(144, 5)
    ).eval()


def loaded(path: Path) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, that torch.jit is deprecated
        return torch.jit.load(path)


@pytest.fixture
def images() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)


def test_zoovet_read_takes_it(saved: Saved, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    path, module = saved(small()), small()
    network = zoovet.read(path, scaling="unit", input_shape=(3, 8, 8))
    assert network.describe() == "network from TorchScript, 837 parameters, reads 3×8×8"
    with torch.no_grad():
        expected = module(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(network.logits(images), expected, rtol=1e-5, atol=1e-6)
    assert zoovet.read(path.read_bytes(), input_shape=(3, 8, 8)).num_parameters == 837
    with pytest.raises(ZoovetError, match=r"a\.pt is TorchScript, which says its network's own graph: zoovet\.read"):
        load_networks(path)


def test_weights_keep_their_names(saved: Saved) -> None:
    graph = read_torchscript(saved(small()), (3, 8, 8)).networks.graph
    learned = {one.name for one in graph.parameters if not one.is_constant}
    assert learned == {"0.weight", "1.weight", "1.bias", "4.weight", "4.bias"}
    graph = read_torchscript(saved(nn.Linear(4, 3)), (4,)).networks.graph
    assert [one.name for one in graph.parameters] == ["weight", "bias"]


def test_a_shape_must_be_given(saved: Saved) -> None:
    said = re.escape(
        "a TorchScript file does not say the size of its input; give images of that size (--images), "
        "--input-shape 3,32,32, or from Python input_shape=(3, 32, 32)"
    )
    with pytest.raises(ZoovetError, match=rf"a\.pt: {said}"):
        read_torchscript(saved(small()))
    with pytest.raises(ZoovetError, match=r"a\.pt: aten\.linear does not fit \(.*\), at code/__torch__/"):
        read_torchscript(saved(small()), (3, 9, 9))


def test_a_file_from_a_gpu_is_read(saved: Saved, changed: Changed) -> None:
    def move(entries: dict[str, bytes]) -> None:
        before, after = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
        assert before in entries["data.pkl"]
        entries["data.pkl"] = entries["data.pkl"].replace(before, after)

    path = saved(small(), torch.zeros(1, 3, 8, 8))
    before = read_torchscript(path, (3, 8, 8)).networks
    after = read_torchscript(changed(path, move), (3, 8, 8)).networks
    assert torch.equal(before.flat(), after.flat())


def test_a_mobile_archive_is_read(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(small())._save_for_lite_interpreter(str(tmp_path / "a.ptl"))
    networks = read_torchscript(tmp_path / "a.ptl", (3, 8, 8)).networks
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(run(networks, images)[0], small()(images), rtol=1e-5, atol=1e-6)


class Answers(NamedTuple):
    classes: Tensor
    features: Tensor


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Answers:
        return Answers(self.fc(x), x * 2)


class Keyed(Named):
    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"features": x * 2, "logits": self.fc(x)}


def test_which_output_is_read_is_said(saved: Saved) -> None:
    path = saved(Named())
    with pytest.raises(
        ZoovetError, match=r"answers 2 things for an image \('classes', 'features'\): say which are its"
    ):
        read_torchscript(path, (4,))
    assert read_torchscript(path, (4,), output=0).networks.graph.operations[-1].op == "linear"
    assert read_torchscript(saved(Keyed()), (4,)).networks.graph.operations[-1].op == "linear"


class Tied(nn.Module):
    """One weight at two places, a convolution that lies with channels last, a buffer that is whole."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, bias=False).to(memory_format=torch.channels_last)
        self.first, self.fc = nn.Linear(4, 4), nn.Linear(4, 5)
        self.second = self.first
        self.register_buffer("factor", torch.linspace(0.5, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x)).mean((2, 3)) * self.factor
        return self.fc(self.second(torch.relu(self.first(x))))


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("made", [small, Tied])
def test_a_file_is_written_with_other_numbers(
    saved: Saved, tmp_path: Path, made: Callable[[], nn.Module], freeze: bool
) -> None:
    path, out = saved(made().eval(), freeze=freeze), tmp_path / "out.pt"
    graph, networks = read_content(path).graph, read_torchscript(path, (3, 8, 8)).networks
    assert graph is not None
    before = {name: tensor[0] for name, tensor in networks.parameters.items()}
    learned = {one.name for one in networks.graph.parameters if not one.is_constant}
    assert learned <= set(placed_names(read_content(path), before))
    after = {name: tensor + 0.25 if name in learned else tensor for name, tensor in before.items()}
    rewrite(path, renumbered_graph_file(graph.data, before, after, "a.pt"), out, lambda _: None)
    again = read_torchscript(out, (3, 8, 8)).networks
    _require_equal(again.parameters, after)
    assert len(out.read_bytes()) == len(path.read_bytes())
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(run(again, images)[0], loaded(out)(images), rtol=1e-5, atol=1e-5)


def _require_equal(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name][0], own) for name, own in wanted.items())
