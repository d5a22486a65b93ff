"""Networks that are told by an architecture or by images: who knows them, and what is said where nobody does."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from zoovet import Graph, Images, Networks, ZoovetError, load_networks
from zoovet.networks import SCALING_PRESETS, small_cnn, to_module
from zoovet.vet import ReadOptions, load_suspects, shipped_candidates

Grays = Callable[..., Images]
WriteDetector = Callable[..., Path]


@pytest.fixture
def file(tmp_path: Path, gray_reader: Networks) -> Path:
    """The state dict of a small CNN, which does not say its activation."""
    torch.save(to_module(gray_reader).state_dict(), tmp_path / "f.pt")
    return tmp_path / "f.pt"


def models(folder: Path, write_detector: WriteDetector, graphs: list[Graph]) -> Path:
    write_detector(folder / "models" / "own" / "detector.safetensors", graphs)
    return folder / "models"


def graphs(*activations: str, side: int = 8) -> list[Graph]:
    return [small_cnn(name, input_shape=(1, side, side), channels=(1, 1)) for name in activations]


def test_an_architecture_tells_which_of_the_known_specs_a_file_is(
    file: Path, tmp_path: Path, write_detector: WriteDetector, grays: Grays
) -> None:
    candidates = shipped_candidates("detector", models(tmp_path, write_detector, graphs("relu", "tanh")))
    with pytest.raises(ZoovetError, match="says nothing of its activation"):
        load_suspects(file, candidates, ReadOptions(), "detector")
    for activation in ("relu", "tanh"):
        named = ReadOptions(architecture=f"small_cnn:activation={activation},image=8")
        suspects = load_suspects(file, candidates, named, "detector")
        assert suspects.parts[0].graph.chain.activation == activation
    other = ReadOptions(architecture="small_cnn:activation=elu,image=8")
    with pytest.raises(ZoovetError, match=r"f.pt: small CNN of 2 convolutions, 40 parameters, reads 1×8×8; "):
        load_suspects(file, candidates, other, "detector")


def test_a_file_that_says_its_graph_is_of_the_known_spec_that_computes_the_same(
    tmp_path: Path, gray_reader: Networks, write_detector: WriteDetector
) -> None:
    pytest.importorskip("onnx")
    candidates = shipped_candidates("detector", models(tmp_path, write_detector, graphs("relu", "tanh")))
    path = tmp_path / "known.onnx"
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for module, source in ((to_module(gray_reader), path), (other, tmp_path / "other.onnx")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own of its older exporter
            torch.onnx.export(module, (torch.zeros(1, 1, 8, 8),), source, dynamo=False)
    suspects = load_suspects(path, candidates, ReadOptions(scaling=SCALING_PRESETS["unit"]), "detector")
    assert suspects.parts[0].graph.chain.activation == "relu"
    assert suspects.parts[0].graph.input_scaling == SCALING_PRESETS["unit"]
    torch.testing.assert_close(suspects.parts[0].flat(), gray_reader.flat())
    line = "other.onnx: network from ONNX, 650 parameters, reads 1×8×8; input scaling not known: no shipped detector"
    with pytest.raises(ZoovetError, match=line):
        load_suspects(tmp_path / "other.onnx", candidates, ReadOptions(), "detector")
    with pytest.raises(ZoovetError, match=r"known\.onnx is ONNX, which says its network's own graph"):
        load_networks(path)


def test_the_scaling_of_a_known_network_is_found_on_images(
    file: Path, tmp_path: Path, write_detector: WriteDetector, grays: Grays
) -> None:
    candidates = shipped_candidates("detector", models(tmp_path, write_detector, graphs("relu")))
    assert load_suspects(file, candidates, ReadOptions(), "detector").parts[0].graph.input_scaling is None
    suspects = load_suspects(file, candidates, ReadOptions(images=grays()), "detector")
    assert suspects.parts[0].graph.input_scaling == SCALING_PRESETS["unit"]
    assert suspects.notes[-1].startswith("input scaling found on 60 labelled images: [0, 1] (unit) gets 1.00 right")
    said = ReadOptions(images=grays(), scaling=SCALING_PRESETS["symmetric"])
    assert load_suspects(file, candidates, said, "detector").parts[0].graph.input_scaling == said.scaling
    chance = ReadOptions(images=Images(pixels=grays().pixels, labels=grays(60, seed=1).labels))
    suspects = load_suspects(file, candidates, chance, "detector")
    assert suspects.parts[0].graph.input_scaling is None
    assert suspects.notes[-1].startswith("input scaling not found on 60 labelled images")
    wrong = ReadOptions(images=Images.from_arrays(torch.zeros(2, 9, 9, dtype=torch.uint8), [0, 1]))
    with pytest.raises(ZoovetError, match=r"f.pt: the network reads images of 1×8×8 .*, these are 1×9×9"):
        load_suspects(file, candidates, wrong, "detector")


def test_of_a_network_that_nobody_knows_a_line_says_what_it_is(
    tmp_path: Path, write_detector: WriteDetector, grays: Grays, levels: torch.Tensor
) -> None:
    candidates = shipped_candidates("detector", models(tmp_path, write_detector, graphs("relu")))
    layer, file = nn.Linear(64, 10), tmp_path / "mlp.pt"
    with torch.no_grad():
        layer.weight.copy_((800 * levels / 64)[:, None].expand(-1, 64))
        layer.bias.copy_(-400 * levels**2)
    torch.save({f"fc.{name}": tensor for name, tensor in layer.state_dict().items()}, file)
    what = "MLP 64-10, 650 parameters, reads 1×8×8"
    for options, line in (
        (ReadOptions(), f"{file} holds {what}: no shipped detector knows such a network"),
        (ReadOptions(architecture="mlp"), f"{file}: {what}; input scaling not known: no shipped detector knows it"),
        (
            ReadOptions(architecture="mlp", scaling=SCALING_PRESETS["unit"]),
            f"{file}: {what}; input scaling [0, 1] (unit): no shipped detector knows it",
        ),
    ):
        with pytest.raises(ZoovetError) as refused:
            load_suspects(file, candidates, options, "detector")
        assert str(refused.value) == line
    with pytest.raises(ZoovetError, match=r"found on 60 labelled images: \[0, 1\] \(unit\) gets 1.00 right"):
        load_suspects(file, candidates, ReadOptions(images=grays()), "detector")
    with pytest.raises(ZoovetError, match=r"mlp.pt is no resnet: it "):
        load_suspects(file, candidates, ReadOptions(architecture="resnet", images=grays()), "detector")
