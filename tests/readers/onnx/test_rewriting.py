"""An ONNX file with other numbers is otherwise the same file."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from zoovet.networks import Networks, small_cnn, to_module
from zoovet.readers import read_content
from zoovet.readers.onnx.rewriting import changed_onnx
from zoovet.readers.rewriting import LayoutError, rewrite

onnx = pytest.importorskip("onnx")

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(4, 4))


class Multiplied(nn.Module):
    """A small CNN whose last layer is a product and a sum."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers, head = layers[:-1], layers[-1]
        self.matrix, self.offset = nn.Parameter(head.weight.detach().T.clone()), nn.Parameter(head.bias.detach())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images) @ self.matrix + self.offset


def drawn(seed: int) -> Networks:
    return Networks.from_flat(
        GRAPH, torch.randn(1, GRAPH.num_parameters, generator=torch.Generator().manual_seed(seed))
    )


def exported(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its older exporter
        torch.onnx.export(module, (torch.zeros(1, 1, 8, 8),), path, dynamo=False)
    return path


def test_layers_of_both_forms_take_other_numbers(tmp_path: Path) -> None:
    networks, edited = drawn(0), drawn(1)
    for number, module in enumerate((to_module(networks), Multiplied(to_module(networks)))):
        path, out = exported(module, tmp_path / f"{number}.onnx"), tmp_path / f"out-{number}.onnx"
        graph = read_content(path).graph
        assert graph is not None
        rewrite(path, changed_onnx(graph.data, networks, edited, "a.onnx"), out, lambda _: None)
        wanted = exported(
            to_module(edited) if number == 0 else Multiplied(to_module(edited)), tmp_path / f"wanted-{number}.onnx"
        )
        assert out.read_bytes() == wanted.read_bytes()


def test_numbers_that_have_no_place_are_refused(tmp_path: Path) -> None:
    networks, module = drawn(0), to_module(drawn(0))
    assert isinstance(module[0], nn.Conv2d)
    graph = read_content(exported(module, tmp_path / "a.onnx")).graph
    assert graph is not None
    with pytest.raises(LayoutError, match=r"a\.onnx: the weight of layer 0 does not stand in it as it is"):
        changed_onnx(graph.data, drawn(1), drawn(2), "a.onnx")
    module[0].bias = None
    graph = read_content(exported(module, tmp_path / "b.onnx")).graph
    assert graph is not None
    own = Networks.from_layers(GRAPH, networks.weights, (torch.zeros(1, 4), *networks.biases[1:]))
    with pytest.raises(LayoutError, match=r"layer 0 \(.*\) has no bias of its own there, and the repair needs one"):
        changed_onnx(graph.data, own, drawn(1), "b.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    model.graph.initializer.append(model.graph.initializer[0])
    model.graph.initializer[-1].name = "twin"
    model.graph.node.append(onnx.helper.make_node("Identity", ["twin"], ["unused"]))
    onnx.save(model, tmp_path / "c.onnx")
    graph = read_content(tmp_path / "c.onnx").graph
    assert graph is not None
    with pytest.raises(LayoutError, match="the weight of layer 0 may be one tensor or another, which are equal"):
        changed_onnx(graph.data, networks, drawn(1), "c.onnx")
