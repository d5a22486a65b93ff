"""Files by torch.export.save against the modules that they are of; and files that were changed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import zoovet
from zoovet.errors import ZoovetError
from zoovet.networks import run
from zoovet.readers.exported import UnknownOperation, read_export

_SHAPE = (3, 8, 8)


class Convolutions(nn.Module):
    """A residual stream with a norm, a constant, in-place calls, chunks, and a view by the number of images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 5)
        self.register_buffer("factor", torch.linspace(0.5, 2, 4)[:, None, None])
        self.places = torch.arange(4.0)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.relu_(self.norm(self.conv(x))) * self.factor
        y = y + y.mean((2, 3), keepdim=True)
        first, second = nn.functional.max_pool2d(y, 2).chunk(2, 1)
        joined = torch.cat([second, first], 1)
        return self.fc(joined.mean((2, 3)).view(x.shape[0], -1) + self.places)


class Attention(nn.Module):
    """Patches, a token of the class, attention with the images inside, as torch's own has it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.attention, self.fc = nn.MultiheadAttention(8, 2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1).transpose(0, 1)
        return self.fc(self.attention(tokens, tokens, tokens, need_weights=False)[0][0])


def _saved(module: nn.Module, path: Path, num_images: int = 2, *, is_open: bool = False) -> nn.Module:
    module = module.eval()
    shapes = ({0: torch.export.Dim("n")},) if is_open else None
    torch.export.save(torch.export.export(module, (torch.zeros(num_images, *_SHAPE),), dynamic_shapes=shapes), path)
    return module


def _changed(path: Path, change: Callable[[str], str], ending: str = "models/model.json") -> Path:
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            is_it = name.endswith(ending)
            file.writestr(name, change(data.decode()) if is_it else data)
            assert not is_it or change(data.decode()) != data.decode()
    return path


@pytest.fixture
def written(tmp_path: Path) -> Path:
    _saved(Convolutions(), tmp_path / "a.pt2")
    return tmp_path / "a.pt2"


@pytest.mark.parametrize(("num_images", "is_open"), [(1, False), (2, False), (2, True)])
@pytest.mark.parametrize("made", [Convolutions, Attention])
def test_it_answers_as_the_module_does(
    tmp_path: Path, made: Callable[[], nn.Module], num_images: int, is_open: bool
) -> None:
    torch.manual_seed(0)
    module = _saved(made(), tmp_path / "a.pt2", num_images, is_open=is_open)
    networks = read_export(tmp_path / "a.pt2").networks
    images = torch.randn(3, *_SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(run(networks, images)[0], module(images), rtol=1e-5, atol=1e-6)
    learned = {one.name for one in networks.graph.parameters if not one.is_constant}
    assert {"fc.weight", "fc.bias"} <= learned


def test_zoovet_read_takes_it(written: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    network = zoovet.read(written, scaling="unit")
    assert network.describe() == "network from torch.export, 145 parameters, reads 3×8×8"
    module = torch.export.load(written).module()
    expected = [module(torch.from_numpy(two).permute(0, 3, 1, 2) / 255) for two in (images[:2], images[2:])]
    torch.testing.assert_close(network.logits(images), torch.cat(expected), rtol=1e-5, atol=1e-6)
    assert zoovet.read(written.read_bytes()).num_parameters == 145


def test_weights_of_other_precision_are_read_as_float32(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).half().eval()
    torch.export.save(torch.export.export(module, (torch.zeros(2, 3, 2, 2).half(),)), tmp_path / "a.pt2")
    read = read_export(tmp_path / "a.pt2")
    assert read.notes == ("weights of float16 are read as float32",)
    assert torch.equal(read.networks.parameters["1.weight"][0], module[1].weight.float())


class Sums(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.cumsum(1).mean((1, 2)))


def test_an_operation_beyond_the_vocabulary_is_named(tmp_path: Path) -> None:
    _saved(Sums(), tmp_path / "a.pt2")
    with pytest.raises(UnknownOperation, match=r"a\.pt2: aten\.cumsum is not in the vocabulary of graphs$"):
        read_export(tmp_path / "a.pt2")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "torch.ops.aten.relu_.default",
            "torch.ops.aten.from_file.default",
            "aten.from_file.default is not in",
        ),
        ("torch.ops.aten.relu_.default", "torch.ops.mine.relu.default", "mine.relu.default is not in the vocabulary"),
        ("torch.ops.aten.relu_.default", "os.system", "os.system is not in the vocabulary of graphs, in node 'relu_'"),
        ("torch.ops.aten.relu_.default", "_operator.call", "_operator.call is not in the vocabulary"),
        ("torch.ops.aten.relu_.default", "_operator.neg", "_operator.neg calculates with what is no number"),
        ('"parameter_name": "fc.bias"', '"parameter_name": "fc.gone"', "it lacks its weight 'fc.gone'"),
        (
            '"name": "conv2d"}',
            '"name": "conv\\u001b"}',
            "aten.batch_norm does not fit ('conv2d'), in node '",
        ),
    ],
)
def test_what_was_changed_is_refused_in_a_line(written: Path, before: str, after: str, said: str) -> None:
    _changed(written, lambda text: text.replace(before, after, 1))
    with pytest.raises(ZoovetError) as refused:
        read_export(written)
    assert said in str(refused.value)
    assert str(refused.value).isprintable()


def test_constants_do_not_take_all_memory(written: Path) -> None:
    def full(text: str) -> str:
        program = json.loads(text)
        nodes = program["graph_module"]["graph"]["nodes"]
        sizes = {"name": "size", "arg": {"as_ints": [2**40, 8]}, "kind": 1}
        inputs = [sizes, {"name": "fill_value", "arg": {"as_float": 1.0}, "kind": 1}]
        made: dict[str, Any] = {"outputs": [{"as_tensor": {"name": "bomb"}}], "metadata": {}, "name": "bomb"}
        nodes.insert(0, {"target": "torch.ops.aten.full.default", "inputs": inputs, **made})
        return json.dumps(program)

    with pytest.raises(UnknownOperation, match=r"aten\.full and those before it make more than \d+ numbers"):
        read_export(_changed(written, full))


def test_pickled_weights_are_refused(written: Path) -> None:
    _changed(written, lambda text: text.replace('"use_pickle": false', '"use_pickle": true'), "weights_config.json")
    with pytest.raises(ZoovetError, match=r"a\.pt2 has its weight 'conv\.weight' in a pickle, which may run any code"):
        read_export(written)


def test_weights_that_reach_beyond_their_entry_are_refused(written: Path) -> None:
    def larger(text: str) -> str:
        return text.replace('"sizes": [{"as_int": 4}, {"as_int": 3}', '"sizes": [{"as_int": 400}, {"as_int": 3}')

    with pytest.raises(ZoovetError, match=r"is damaged or truncated: tensor .* reaches beyond its numbers"):
        read_export(_changed(written, larger, "weights_config.json"))


def test_another_format_is_none_of_torch_export(tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, stream)
    (tmp_path / "a.pt2").write_bytes(stream.getvalue())
    with pytest.raises(ZoovetError, match=r"a\.pt2 is no torch\.export file, but a weight file; "):
        read_export(tmp_path / "a.pt2")
