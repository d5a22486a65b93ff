"""Repaired networks are written as the input was, or in zoovet's own format, or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import zoovet
from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, to_module
from zoovet.readers import load_networks, read_content, read_state_dict, save_networks
from zoovet.vet import Candidate, RepairedFile, load_suspects, require_output_name, write_repaired
from zoovet.vet.healed_files import in_one_file, writable_names
from zoovet.vet.suspects import ReadOptions

NetworksOf = Callable[..., Networks]
Repaired = Callable[..., RepairedFile]


@pytest.fixture
def repaired(relu_graph: Graph) -> Repaired:
    """A file whose networks' numbers became larger by a half."""
    candidates = [Candidate("own", Path("none"), (relu_graph,))]

    def repair(path: Path, output: int | None = None, input_shape: tuple[int, ...] | None = None) -> RepairedFile:
        options = ReadOptions(output=output, input_shape=input_shape)
        suspects = load_suspects(path, candidates, options, "repairer")
        parts = tuple(Networks.from_flat(part.graph, part.flat() + 0.5) for part in suspects.parts)
        return RepairedFile(suspects=suspects, parts=parts, change=1.0, notes=(), general_notes=())

    return repair


def test_a_state_dict_keeps_its_names_or_becomes_zoovets_own(
    tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired
) -> None:
    networks, path = drawn(relu_graph), tmp_path / "a.pt"
    torch.save({"model": to_module(networks).state_dict(), "epoch": 3}, path)
    assert write_repaired(repaired(path), path, tmp_path / "out.pt") == ()
    healed = torch.load(tmp_path / "out.pt", weights_only=True)
    assert healed["epoch"] == 3
    before = read_state_dict(path)
    for name, tensor in healed["model"].items():
        assert torch.equal(tensor, before[name] + 0.5)
    (note,) = write_repaired(repaired(path), path, tmp_path / "out.safetensors")
    assert note == "written in zoovet's own format, as --out ends in another way than the input"
    assert torch.equal(load_networks(tmp_path / "out.safetensors").flat(), networks.flat() + 0.5)


def test_zoovets_own_files_say_what_was_found_of_their_scaling(
    tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired
) -> None:
    path, out = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    save_networks(drawn(relu_graph, 3), path)
    file = repaired(path)
    parts = (file.parts[0][:2].with_scaling("unit"), file.parts[0][2:])
    for given, expected in ((parts, None), (parts[:1], zoovet.InputScaling())):
        assert write_repaired(replace(file, parts=given), path, out) == ()
        assert load_networks(out).graph.input_scaling == expected
    assert torch.equal(load_networks(out).flat(), drawn(relu_graph, 3).flat()[:2] + 0.5)


class WithTheImages(nn.Module):
    """Answers what it read, too."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 2 * images, self.network(images)


def test_an_onnx_file_stays_one(tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired) -> None:
    pytest.importorskip("onnx")
    networks, path, out = drawn(relu_graph), tmp_path / "a.onnx", tmp_path / "out.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its older exporter
        torch.onnx.export(to_module(networks), (torch.zeros(1, 1, 8, 8),), path, dynamo=False)
    assert write_repaired(repaired(path), path, out) == ()
    (again,) = repaired(out).suspects.parts
    assert torch.equal(again.flat(), networks.flat() + 0.5)
    assert len(out.read_bytes()) == len(path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = WithTheImages(to_module(networks))
        torch.onnx.export(module, (torch.zeros(1, 1, 8, 8),), path, dynamo=False)
    assert write_repaired(repaired(path, 1), path, out) == ()
    (again,) = repaired(out, 1).suspects.parts
    assert torch.equal(again.flat(), networks.flat() + 0.5)


@pytest.mark.parametrize("freeze", [True, False])
def test_a_torchscript_file_stays_one(
    tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired, freeze: bool
) -> None:
    networks, path, out = drawn(relu_graph), tmp_path / "a.pt", tmp_path / "out.pt"
    images = torch.rand(3, *relu_graph.input_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, that torch.jit is deprecated
        module = torch.jit.trace(to_module(networks).eval(), images)
        torch.jit.save(torch.jit.freeze(module) if freeze else module, path)
        assert write_repaired(repaired(path, input_shape=relu_graph.input_shape), path, out) == ()
        answers = torch.jit.load(out)(images)
    (again,) = repaired(out, input_shape=relu_graph.input_shape).suspects.parts
    assert torch.equal(again.flat(), networks.flat() + 0.5)
    torch.testing.assert_close(answers, to_module(again)(images), rtol=1e-5, atol=1e-5)
    assert len(out.read_bytes()) == len(path.read_bytes())


def test_an_onnx_file_takes_in_what_lies_in_another(
    tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired
) -> None:
    onnx = pytest.importorskip("onnx")
    networks, path, out = drawn(relu_graph), tmp_path / "a.onnx", tmp_path / "elsewhere" / "out.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its older exporter
        torch.onnx.export(to_module(networks), (torch.zeros(1, 1, 8, 8),), path, dynamo=False)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="a.data", size_threshold=0)
    network, content = zoovet.read(path, scaling="unit"), read_content(path)
    assert network.networks is not None
    assert writable_names(network, content) == set()
    assert writable_names(network, in_one_file(content, path)) == set(network.networks.parameters)
    before = path.read_bytes(), (tmp_path / "a.data").read_bytes()
    out.parent.mkdir()
    assert write_repaired(repaired(path), path, out) == ()
    (again,) = repaired(out).suspects.parts
    assert torch.equal(again.flat(), networks.flat() + 0.5)
    assert (path.read_bytes(), (tmp_path / "a.data").read_bytes()) == before


def test_a_layout_that_cannot_be_kept_says_the_way_out(
    tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired
) -> None:
    path = tmp_path / "a.pt"
    state = to_module(drawn(relu_graph)).state_dict()
    del state["0.bias"]
    torch.save(state, path)
    with pytest.raises(ZoovetError, match=r"has no bias .*; --out NAME\.safetensors writes the network in zoovet's"):
        write_repaired(repaired(path), path, tmp_path / "out.pt")
    assert [one.name for one in tmp_path.iterdir()] == ["a.pt"]
    assert write_repaired(repaired(path), path, tmp_path / "out.safetensors") != ()


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        (
            "a.pt",
            "b.h5",
            r"--out b\.h5: give a name that ends in \.pt, the format of the input, "
            r"or where a repairer knows the network in \.safetensors",
        ),
        ("a.safetensors", "b.onnx", r"--out b\.onnx: give a name that ends in \.safetensors"),
        ("a.pt2", "b.pt", r"--out b\.pt: give a name that ends in \.safetensors"),
        ("a", "b.pt", r"give a name that ends in \.safetensors"),
        ("a.pt", "b\x1b[2J", r"--out b\\x1b\[2J: give a name"),
    ],
)
def test_an_output_of_another_format_is_refused(source: str, out: str, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        require_output_name(Path(source), Path(out))


def test_names_that_end_alike_are_taken() -> None:
    for source, out in (("a.pt", "b.PT"), ("a.pt", "b.safetensors"), ("a", "b"), ("a.onnx", "b.onnx")):
        require_output_name(Path(source), Path(out))


@pytest.mark.parametrize("out", ["b.pth", "b.pth.tar", "b.bin"])
def test_another_ending_of_the_same_format_keeps_the_layout(
    tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired, out: str
) -> None:
    path, networks = tmp_path / "a.pt", drawn(relu_graph)
    torch.save(to_module(networks).state_dict(), path)
    require_output_name(path, tmp_path / out)
    assert write_repaired(repaired(path), path, tmp_path / out) == ()
    written = torch.load(tmp_path / out, weights_only=True)
    assert list(written) == list(torch.load(path, weights_only=True))
    (again,) = repaired(tmp_path / out).suspects.parts
    assert torch.equal(again.flat(), networks.flat() + 0.5)


class Multiplied(nn.Module):
    """A small CNN whose last layer is a product and a sum."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers, head = layers[:-1], layers[-1]
        self.matrix, self.offset = nn.Parameter(head.weight.detach().T.clone()), nn.Parameter(head.bias.detach())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.layers(images) @ self.matrix + self.offset
        return answers


def exported(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its older exporter
        torch.onnx.export(module, (torch.zeros(1, 1, 8, 8),), path, dynamo=False)
    return path


@pytest.mark.parametrize("form", [lambda module: module, Multiplied], ids=["layers", "a product"])
def test_an_onnx_file_with_other_numbers_is_otherwise_the_same(
    tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired, form: Callable[..., nn.Module]
) -> None:
    pytest.importorskip("onnx")
    networks, out = drawn(relu_graph), tmp_path / "out.onnx"
    path = exported(form(to_module(networks)), tmp_path / "a.onnx")
    file = repaired(path)
    wanted = exported(form(to_module(file.parts[0])), tmp_path / "wanted.onnx")
    assert write_repaired(file, path, out) == ()
    assert out.read_bytes() == wanted.read_bytes()


def test_of_equal_tensors_in_an_onnx_file_the_one_that_is_read_takes_other_numbers(
    tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired
) -> None:
    onnx = pytest.importorskip("onnx")
    networks, out = drawn(relu_graph), tmp_path / "out.onnx"
    path = exported(to_module(networks), tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(model.graph.initializer[0])
    model.graph.initializer[-1].name = "twin"
    model.graph.node.append(onnx.helper.make_node("Identity", ["twin"], ["unused"]))
    onnx.save(model, path)
    assert write_repaired(repaired(path), path, out) == ()
    (again,) = repaired(out).suspects.parts
    assert torch.equal(again.flat(), networks.flat() + 0.5)
    before, after = (onnx.load(one).graph.initializer for one in (path, out))
    assert before[-1].raw_data == after[-1].raw_data
    assert before[0].raw_data != after[0].raw_data


def test_numbers_that_have_no_place_in_an_onnx_file_are_refused(
    tmp_path: Path, relu_graph: Graph, drawn: NetworksOf, repaired: Repaired
) -> None:
    pytest.importorskip("onnx")
    module, out = to_module(drawn(relu_graph)), tmp_path / "out.onnx"
    convolution = module[0]
    assert isinstance(convolution, nn.Conv2d)
    norm = nn.BatchNorm2d(convolution.out_channels).eval()
    folded = nn.Sequential(convolution, nn.Identity(), norm, *module[1:]).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its older exporter
        kept = torch.onnx.TrainingMode.PRESERVE  # else the exporter folds it itself
        options = {"dynamo": False, "training": kept, "do_constant_folding": False}
        torch.onnx.export(folded, (torch.zeros(1, 1, 8, 8),), tmp_path / "b.onnx", **options)
    with pytest.raises(ZoovetError, match=r"b\.onnx: the numbers of '.*' do not stand in it one by one"):
        write_repaired(repaired(tmp_path / "b.onnx"), tmp_path / "b.onnx", out)
    convolution.bias = None
    path = exported(module, tmp_path / "c.onnx")
    with pytest.raises(ZoovetError, match=r"c\.onnx: a layer has no bias of its own there, and the repair needs one"):
        write_repaired(repaired(path), path, out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("archive", "name", "ending"),
    [
        ("keras_files", "functional_keras", "keras"),
        ("keras_files", "functional_h5", "h5"),
        ("tflite_files", "net_float32", "tflite"),
        ("tflite_files", "chain_float16", "tflite"),
    ],
)
def test_a_file_of_tensorflow_stays_one(tmp_path: Path, archive: str, name: str, ending: str) -> None:
    """Kernels lie with the channels last; that of Keras has a batch norm that follows an activation."""
    path, out = tmp_path / f"a.{ending}", tmp_path / f"out.{ending}"
    with np.load(Path(__file__).parents[1] / "data" / f"{archive}.npz") as files:
        path.write_bytes(files[name].tobytes())
    network = zoovet.read(path)
    assert network.unfolded is not None
    own = network.unfolded
    suspects = load_suspects(path, [Candidate("own", Path("none"), (own.graph,))], ReadOptions(), "repairer")
    edited = Networks.from_flat(own.graph, suspects.parts[0].flat() * 1.5)
    file = RepairedFile(suspects=suspects, parts=(edited,), change=1.0, notes=(), general_notes=())
    assert write_repaired(file, path, out) == ()
    again = zoovet.read(out).unfolded
    assert again is not None
    tolerance = 1e-3 if name.endswith("16") else 0.0
    torch.testing.assert_close(again.flat(), own.flat() * 1.5, rtol=tolerance, atol=0)
    assert len(out.read_bytes()) == len(path.read_bytes())
