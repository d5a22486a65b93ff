"""Modules that answer several things, or cannot be followed back: what is said, and the way out."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import zoovet
from zoovet import ZoovetError
from zoovet.cli.main import main
from zoovet.networks import Networks, mlp
from zoovet.readers import read_content, save_networks
from zoovet.vet import ReadOptions, load_suspects, weights_digest
from zoovet.vet.editable_network import editable_network, with_weights
from zoovet.vet.healed_files import writable_names
from zoovet.vet.network import ANSWERS_PROBABILITIES, with_chosen_output
from zoovet.vet.runnable_network import runnable


class Pair(nn.Module):
    """Answers classes and features."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(48, 5), nn.Linear(48, 7)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        flat = images.flatten(1)
        return self.first(flat), self.second(flat)


def test_one_of_a_pair_is_chosen() -> None:
    module = Pair()
    with pytest.raises(ZoovetError, match="answers 2 things for an image: say which are its classes, output=INDEX"):
        zoovet.from_module(module, (3, 4, 4), "unit")
    images = torch.randint(0, 256, (6, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    read = images.permute(0, 3, 1, 2) / 255
    for index in (0, 1):
        network = zoovet.from_module(module, (3, 4, 4), "unit", output=index)
        torch.testing.assert_close(network.logits(images), module(read)[index].detach())
        assert network.digest == weights_digest(module.state_dict())
    with pytest.raises(ZoovetError, match="output must lie in 0 to 1, got 2"):
        zoovet.from_module(module, (3, 4, 4), "unit", output=2)
    with pytest.raises(ZoovetError, match="answers one thing for an image: leave out output"):
        zoovet.from_module(nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), (3, 4, 4), "unit", output=0)


OWN = """
import torch
from torch import nn

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(48, 5), nn.Linear(48, 7)

    def forward(self, images):
        flat = images.flatten(1)
        return self.first(flat), self.second(flat)
"""


def test_files_are_asked_for_one_of_a_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, images = Pair(), torch.zeros(2, 3, 4, 4)
    torch.save(module.state_dict(), tmp_path / "pair.pt")
    torch.export.save(torch.export.export(module, (images,)), tmp_path / "pair.pt2")
    (tmp_path / "my_net.py").write_text(OWN)
    make = {"pair.pt": f"{tmp_path / 'my_net.py'}:Pair", "pair.pt2": None}
    for name, architecture in make.items():
        with pytest.raises(ZoovetError, match=rf"{name}: the network answers 2 things .*: say which are its classes"):
            zoovet.read(tmp_path / name, architecture, "unit", input_shape=(3, 4, 4))
        read = zoovet.read(tmp_path / name, architecture, "unit", input_shape=(3, 4, 4), output=1)
        torch.testing.assert_close(read.logits(images.byte().movedim(1, 3)), module(images)[1].detach())
        with pytest.raises(ZoovetError, match=rf"{name}: output must lie in 0 to 1, got -1"):
            zoovet.read(tmp_path / name, architecture, "unit", input_shape=(3, 4, 4), output=-1)
    words = ["scan", str(tmp_path / "pair.pt2"), "--scaling", "unit"]
    assert main([*words, "--output", "x"]) == 2
    assert "--output: must be a whole number from 0 on, got 'x'" in capsys.readouterr().err
    assert main([*words, "--output", "2"]) == 2
    assert "pair.pt2: output must lie in 0 to 1, got 2" in capsys.readouterr().err


def test_weights_of_a_chosen_output_keep_the_names_of_their_file(tmp_path: Path) -> None:
    torch.save(Pair().state_dict(), tmp_path / "pair.pt")
    (tmp_path / "my_net.py").write_text(OWN)
    architecture = f"{tmp_path / 'my_net.py'}:Pair"
    network = zoovet.read(tmp_path / "pair.pt", architecture, "unit", input_shape=(3, 4, 4), output=1)
    content = read_content(tmp_path / "pair.pt")
    assert writable_names(network, content) == {"second.weight", "second.bias"}
    editable = editable_network(network, (3, 4, 4))
    images = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    edited = with_weights(network, {name: own + 1 for name, own in editable.weights.items()})
    torch.testing.assert_close(edited.logits(images), network.logits(images) + 1)
    pair = Pair()
    assert torch.equal(with_chosen_output(pair, 0)(torch.ones(1, 3, 4, 4)), pair(torch.ones(1, 3, 4, 4))[0])
    assert isinstance(pair(torch.ones(1, 3, 4, 4)), tuple)  # it itself answers as before


def test_networks_of_one_answer_leave_it_out(tmp_path: Path) -> None:
    graph = mlp((4, 3, 2))
    save_networks(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)), tmp_path / "own.safetensors")
    layer = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    torch.export.save(torch.export.export(layer, (torch.zeros(2, 3, 4, 4),)), tmp_path / "one.pt2")
    for name in ("own.safetensors", "one.pt2"):
        with pytest.raises(ZoovetError, match=rf"{name}: the network answers one thing for an image: leave out output"):
            zoovet.read(tmp_path / name, output=0)
        with pytest.raises(ZoovetError, match=r"the network answers one thing for an image: leave out output"):
            load_suspects(tmp_path / name, [], ReadOptions(output=0), "detector")


def test_a_map_is_no_classes() -> None:
    with pytest.raises(ZoovetError, match=r"answers \[5, 4, 4\] for an image, expected is one number for each class"):
        zoovet.from_module(nn.Conv2d(3, 5, 1), (3, 4, 4), "unit")


def _squeezed() -> nn.Sequential:
    """Ends as SqueezeNet does in ONNX' model zoo: its answers are maps of one place, made to probabilities."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Softmax(1)).eval()


def test_a_map_of_one_place_is_classes(tmp_path: Path) -> None:
    module, images = _squeezed(), torch.randint(256, (4, 3, 6, 6), dtype=torch.uint8)
    network = zoovet.from_module(module, (3, 6, 6), "unit")
    assert ANSWERS_PROBABILITIES in network.notes
    torch.testing.assert_close(network.logits(images), module(images / 255).flatten(1))
    torch.export.save(torch.export.export(module, (torch.zeros(2, 3, 6, 6),)), tmp_path / "squeezed.pt2")
    read = zoovet.read(tmp_path / "squeezed.pt2", scaling="unit")
    torch.testing.assert_close(read.logits(images), network.logits(images))
    assert read.graph is not None
    assert (read.graph.output_shape, read.graph.answers) == ((5,), "probabilities")
    editable = editable_network(read)
    changed = with_weights(read, {name: own * 2 for name, own in editable.weights.items()})
    assert changed.logits(images).shape == (4, 5)


def test_a_module_that_is_run_may_answer_a_map_of_one_place() -> None:
    class Beyond(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = _squeezed()[:-1]

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images.cumsum(3))

    module, images = Beyond(), torch.randint(256, (4, 3, 6, 6), dtype=torch.uint8)
    network = zoovet.from_module(module, (3, 6, 6), "unit")
    assert network.graph is None
    expected = module(images / 255).flatten(1)
    torch.testing.assert_close(network.logits(images), expected)
    torch.testing.assert_close(runnable(network).logits(images / 127.5 - 1)[0], expected)


def test_a_quantized_module_is_called_that() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
        quantized = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear})
    with pytest.raises(ZoovetError, match="the module is quantized: its weights are packed and no gradient goes"):
        zoovet.from_module(quantized, (3, 4, 4), "unit")
