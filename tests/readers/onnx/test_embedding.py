"""Numbers that lie in other files stand in an ONNX file that is written anew; all else is what it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.readers import read_content
from zoovet.readers.loaded import GraphData
from zoovet.readers.onnx.embedding import embedded

onnx = pytest.importorskip("onnx")


def _model() -> onnx.ModelProto:
    helper, numbers = onnx.helper, np.random.default_rng(0).standard_normal
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["h"]), helper.make_node("Gemm", ["h", "v"], ["y"], alpha=0.5)],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 300])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3])],
        [
            onnx.numpy_helper.from_array(numbers(shape).astype(kind), name)
            for name, shape, kind in (("w", (300, 200), "f4"), ("b", 200, "f4"), ("v", (200, 3), "f4"))
        ],
        doc_string="a text",
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_version="1")


def _saved(path: Path, least: int) -> GraphData:
    onnx.save(_model(), path, save_as_external_data=True, location="numbers.bin", size_threshold=least)
    graph = read_content(path).graph
    assert graph is not None
    return graph.data


@pytest.mark.parametrize("least", [0, 1000])
def test_what_lies_in_another_file_stands_in_it(tmp_path: Path, least: int) -> None:
    written = embedded(_saved(tmp_path / "a.onnx", least), tmp_path, "a.onnx")
    assert written is not None
    assert onnx.load_from_string(written) == _model()
    (tmp_path / "b.onnx").write_bytes(written)
    first, second = (read_content(tmp_path / name).graph for name in ("a.onnx", "b.onnx"))
    assert first is not None
    assert second is not None
    before, after = first.read(None, None).networks, second.read(None, None).networks
    assert before.graph == after.graph
    assert torch.equal(before.flat(), after.flat())


def test_a_file_that_has_all_its_numbers_is_as_it_was(tmp_path: Path) -> None:
    assert embedded(_saved(tmp_path / "a.onnx", 2**20), tmp_path, "a.onnx") is None


def test_numbers_that_are_not_there_are_named(tmp_path: Path) -> None:
    data = _saved(tmp_path / "a.onnx", 1000)
    (tmp_path / "numbers.bin").write_bytes(b"short")
    with pytest.raises(ZoovetError, match=r"^a\.onnx: the tensor 'w' needs 240000 bytes from byte 0 of 'numbers\.bin'"):
        embedded(data, tmp_path, "a.onnx")
    (tmp_path / "numbers.bin").unlink()
    with pytest.raises(ZoovetError, match=r"^a\.onnx: the tensor 'w' lies in the file 'numbers\.bin', which cannot"):
        embedded(data, tmp_path, "a.onnx")
    for tensor in data.description["tensors"]:
        if tensor["external"] is not None:
            del tensor["external"]["length"]
    with pytest.raises(ZoovetError, match=r"^a\.onnx: the tensor 'w' lies in another file and does not say how long"):
        embedded(data, tmp_path, "a.onnx")
