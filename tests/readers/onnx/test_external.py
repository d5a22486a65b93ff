"""Numbers that lie in files beside an ONNX file: read where they are its own, refused in a line where they are not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.readers import content_of_bytes
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.onnx import read_onnx

pytest.importorskip("onnx")

from onnx import ModelProto, TensorProto, helper


def network_from_onnx(data: bytes, input_shape: tuple[int, ...] | None = None) -> NetworkFile:
    """Read as whoever is given a file's bytes does."""
    graph = content_of_bytes(data, "the ONNX file").graph
    assert graph is not None
    assert graph.format_name == "ONNX"
    return graph.read(input_shape, None)


_WEIGHTS = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)


def _with_external(folder: Path, location: str, **where: int) -> Path:
    """A file of one convolution whose weight lies elsewhere."""
    tensor = TensorProto(name="w", dims=_WEIGHTS.shape, data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **where}.items():
        tensor.external_data.add(key=key, value=str(value))
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("GlobalAveragePool", ["a"], ["y"])]
    read = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 6, 6))]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "graph", read, made, [tensor])
    path = folder / "model.onnx"
    opset = helper.make_opsetid("", 17)
    path.write_bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())
    return path


def test_numbers_in_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"1234" + _WEIGHTS.tobytes())
    read = read_onnx(_with_external(tmp_path, "data/w.bin", offset=4, length=432))
    assert torch.equal(read.networks.parameters["w"][0], torch.from_numpy(_WEIGHTS))


@pytest.mark.parametrize(
    ("location", "where", "message"),
    [
        ("../secret", {}, r"lies in '\.\./secret', outside the file's folder; that is not opened"),
        ("/etc/passwd", {}, r"lies in '/etc/passwd', outside the file's folder"),
        ("", {}, r"outside the file's folder"),
        ("link", {}, r"lies in 'link', which is a link; links are not followed"),
        ("linked/w.bin", {}, r"which is a link"),
        ("pipe", {}, r"'pipe', which cannot be read: it is a named pipe"),
        ("gone", {}, r"'gone', which cannot be read: No such file"),
        ("w.bin", {"offset": 10}, r"needs 432 bytes from byte 10 of 'w\.bin', which has 432$"),
        ("w.bin", {"length": 4}, r"and says 4$"),
        ("w.bin", {"offset": -5}, r"has the offset '-5', which is no number of bytes"),
    ],
)
def test_numbers_elsewhere_are_refused(tmp_path: Path, location: str, where: Any, message: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for place in (tmp_path / "secret", folder / "w.bin"):
        place.write_bytes(_WEIGHTS.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe")
    with pytest.raises(ZoovetError, match=message):
        read_onnx(_with_external(folder, location, **where))


def test_a_link_to_a_file_has_its_numbers_beside_the_link(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    path = _with_external(tmp_path / "blobs", "w.bin")
    (tmp_path / "link.onnx").symlink_to(path)
    (tmp_path / "w.bin").write_bytes(_WEIGHTS.tobytes())
    assert len(read_onnx(tmp_path / "link.onnx").networks) == 1


def test_bytes_alone_have_no_files_beside_them(tmp_path: Path) -> None:
    data = _with_external(tmp_path, "w.bin").read_bytes()
    with pytest.raises(ZoovetError, match=r"give the path of the ONNX file, not its bytes$"):
        network_from_onnx(data)


def test_tensors_that_overlap_do_not_take_all_memory(tmp_path: Path) -> None:
    path = _with_external(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(_WEIGHTS.tobytes())
    model = ModelProto.FromString(path.read_bytes())
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
    model.graph.initializer[-1].name = "again"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ZoovetError, match=r"its tensors together are larger than the file 'w\.bin'"):
        read_onnx(path)
