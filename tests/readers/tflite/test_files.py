"""Files that TensorFlow converted: what they answer, what is said of them, and how their numbers are written anew."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import zoovet
from zoovet.errors import ZoovetError
from zoovet.networks import Networks, run
from zoovet.readers import content_of_bytes, load_networks, read_content
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.renumbering import placed_names, renumbered_graph_file
from zoovet.readers.rewriting import rewrite
from zoovet.readers.tflite import read_tflite

from .conftest import Step, Table, Wrote, flatbuffer, model_of

Files = Mapping[str, Any]
OF_TENSORFLOW = ["small_float32", "small_float16", "tokens_float32", "tokens_fixed", "chain_float16", "net_float32"]
TWO_LAYERS = [Step("FULLY_CONNECTED", ("x", "a", "b"), ("h",)), Step("FULLY_CONNECTED", ("h", "a", "b"))]
ONE_CONVOLUTION = [Step("CONV_2D", ("x", "a", "b"), settings={"stride_width": 1, "stride_height": 1})]


def read(data: bytes, input_shape: tuple[int, ...] | None = None, output: int | None = None) -> NetworkFile:
    graph = content_of_bytes(data, "the file").graph
    assert graph is not None
    return graph.read(input_shape, output)


def answers(networks: Networks, images: Any) -> Tensor:
    """To images [N, height, width, channels] as the file reads them."""
    given, scaling = torch.from_numpy(images).permute(0, 3, 1, 2), networks.graph.input_scaling
    if scaling is not None:
        mean, deviation = (torch.tensor(one).reshape(1, -1, 1, 1) for one in (scaling.mean, scaling.deviation))
        given = ((given / 255 - mean) / deviation).float()
    return run(networks, given)[0]


@pytest.mark.parametrize("name", OF_TENSORFLOW)
def test_a_file_answers_as_the_interpreter_does(of_tensorflow: Files, name: str) -> None:
    """All at once, also where it is for one image."""
    networks = read(of_tensorflow[name]).networks
    found = answers(networks, of_tensorflow[f"{name.split('_')[0]}_images"])
    wanted = of_tensorflow[f"{name}_answers"]
    torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=1e-4, atol=1e-5 * float(np.abs(wanted).max()))


def test_what_is_said_of_a_file(of_tensorflow: Files) -> None:
    whole, halves = (read(of_tensorflow[f"small_{kind}"]) for kind in ("float32", "float16"))
    assert whole.notes == (
        "the file reads channels last; images are given channels first",
        "its first operations scale images with pixels of 0 to 255: they are read as the input scaling [0, 1] minus "
        "0.5, divided by 0.5 (symmetric)",
    )
    assert halves.notes[1] == "weights of float16 are read as float32"


def test_zoovet_read_takes_it(of_tensorflow: Files, tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(of_tensorflow["net_float32"])
    network = zoovet.read(path, scaling="unit")
    assert network.describe() == "network from TFLite, 4,266 parameters, reads 1×28×28"
    pixels = np.random.default_rng(0).integers(0, 255, (2, 28, 28, 1), dtype=np.uint8)
    expected = answers(read_tflite(path).networks, (pixels / 255).astype(np.float32))
    torch.testing.assert_close(network.logits(pixels), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ZoovetError, match=r"a\.tflite is TFLite, which says its network's own graph: zoovet\.read"):
        load_networks(path)


def test_graphs_are_as_of_other_files(of_tensorflow: Files) -> None:
    """Maps are turned nowhere, a layer behind a flattened one has its weights turned instead."""
    graph = read(of_tensorflow["net_float32"]).networks.graph
    wanted = ["conv2d", "elu", "max_pool2d", "conv2d", "elu", "max_pool2d", "flatten", "linear"]
    assert [operation.op for operation in graph.operations] == wanted
    assert "permute" not in [one.op for one in read(of_tensorflow["small_float16"]).networks.graph.operations]


def renumbered(data: bytes, folder: Path) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], bytes]:
    """What all parameters of a file were to become, what they are when it was written so, and the new file."""
    path, out = folder / "a.tflite", folder / "out.tflite"
    path.write_bytes(data)
    content = read_content(path)
    assert content.graph is not None
    before = {name: tensor[0] for name, tensor in content.graph.read(None, None).networks.parameters.items()}
    assert set(placed_names(content, before)) == set(before)
    after = {name: tensor * 1.25 for name, tensor in before.items()}
    rewrite(path, renumbered_graph_file(content.graph.data, before, after, "a.tflite"), out, lambda _: None)
    return after, read_tflite(out).networks.parameters, out.read_bytes()


@pytest.mark.parametrize("name", OF_TENSORFLOW)
def test_a_file_is_written_with_other_numbers(of_tensorflow: Files, tmp_path: Path, name: str) -> None:
    """Weights of float16 stay that; all else is as it was, byte for byte."""
    after, found, new = renumbered(of_tensorflow[name], tmp_path)
    tolerance = 1e-3 if name.endswith("16") else 0.0
    assert list(found) == list(after)
    for key, wanted in after.items():
        torch.testing.assert_close(found[key][0], wanted, rtol=tolerance, atol=tolerance)
    assert len(new) == len(of_tensorflow[name])


def test_numbers_that_are_there_twice_are_told_by_the_turn(written: Wrote, tmp_path: Path) -> None:
    """A matrix behind a flattened map of 2×7 places, most of whose numbers are alike."""
    matrix = np.round(np.random.default_rng(0).normal(size=(5, 2 * 7 * 4))).astype(np.float32)
    pooling = {"filter_width": 1, "filter_height": 1, "stride_width": 1, "stride_height": 3}
    steps = [
        Step("MAX_POOL_2D", ("x",), ("h",), pooling),
        Step("RESHAPE", ("h", "sizes"), ("flat",)),
        Step("FULLY_CONNECTED", ("flat", "matrix")),
    ]
    after, found, _ = renumbered(written(steps, {"matrix": matrix, "sizes": np.int32([-1, 56])}), tmp_path)
    assert torch.equal(found["matrix"][0], after["matrix"])


def test_weights_that_operators_share_stay_shared(written: Wrote, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    constants = {"a": rng.normal(size=(4, 4)).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)}
    after, found, _ = renumbered(written(TWO_LAYERS, constants, (1, 4)), tmp_path)
    assert list(found) == ["a", "b"]
    assert torch.equal(found["a"][0], after["a"])


def test_tensors_that_share_a_buffer_do_not_change_apart(written: Wrote, tmp_path: Path) -> None:
    model = model_of(
        [*TWO_LAYERS[:1], Step("ADD", ("h", "c"))], {"a": np.eye(4, dtype=np.float32), **_zeros("bc")}, (1, 4)
    )
    tensors = model[2][0][0]
    tensors[3] = [*tensors[3][:2], tensors[2][2], *tensors[3][3:]]
    path = tmp_path / "a.tflite"
    path.write_bytes(flatbuffer(model))
    content = read_content(path)
    assert content.graph is not None
    before = {name: tensor[0] for name, tensor in content.graph.read(None, None).networks.parameters.items()}
    assert list(before) == ["a", "b", "c"]
    after = {name: tensor + 1 for name, tensor in before.items()}
    with pytest.raises(ZoovetError, match=r"a\.tflite: the numbers of 'c' do not stand in it one by one, or twice"):
        renumbered_graph_file(content.graph.data, before, after, "a.tflite")


def _zeros(names: str) -> dict[str, Any]:
    return {name: np.zeros(4, np.float32) for name in names}


def test_buffers_may_lie_behind_all_tables(written: Wrote, tmp_path: Path) -> None:
    """As in files of more than 2 GB; a zip file of labels may lie behind these."""
    rng = np.random.default_rng(0)
    constants = {"a": rng.normal(size=(4, 4)).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)}
    model = model_of(TWO_LAYERS, constants, (1, 4))
    model[4][2:4] = [[None, ("Q", 2**40), ("Q", one.nbytes)] for one in constants.values()]
    start, behind = -(-len(flatbuffer(model)) // 16) * 16, b""
    for buffer, one in zip(model[4][2:4], constants.values(), strict=True):
        buffer[1] = ("Q", start + len(behind))
        behind += one.tobytes()
    labels = io.BytesIO()
    with zipfile.ZipFile(labels, "w") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    data = flatbuffer(model).ljust(start, b"\0") + behind + labels.getvalue()
    after, found, new = renumbered(data, tmp_path)
    assert torch.equal(found["a"][0], after["a"])
    assert zipfile.ZipFile(io.BytesIO(new)).read("labels.txt") == b"cat\ndog\n"
    assert torch.equal(read(data).networks.parameters["a"][0], torch.from_numpy(constants["a"]))


def test_a_tensor_that_is_called_as_another_is_called_here(written: Wrote) -> None:
    """The first layer's matrix, which has to be turned, is called by what the layer makes."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(4, 4)).astype(np.float32) for _ in range(2))
    steps = [
        Step("FULLY_CONNECTED", ("x", "first"), ("h",), {"keep_num_dims": True}),
        Step("MEAN", ("h", "axes"), ("m",)),
        Step("FULLY_CONNECTED", ("m", "h.weight")),
    ]
    networks = read(written(steps, {"first": first, "h.weight": second, "axes": np.int32([1])}, (1, 3, 4))).networks
    images = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    wanted = images[:, 0].mean(1) @ torch.from_numpy(first).T @ torch.from_numpy(second).T
    torch.testing.assert_close(run(networks, images)[0], wanted, rtol=1e-5, atol=1e-5)
    assert list(networks.parameters) == ["h.weight", "h.weight_2"]


def test_which_output_is_read_is_said(written: Wrote) -> None:
    steps = [*ONE_CONVOLUTION, Step("MEAN", ("y", "axes"), ("classes",))]
    constants = {"a": np.ones((3, 1, 1, 4), np.float32), "b": np.ones(3, np.float32), "axes": np.int32([1, 2])}
    data = written(steps, constants, outputs=("y", "classes"))
    assert read(data, output=1).networks.graph.output_shape == (3,)
    with pytest.raises(ZoovetError, match=r"answers 2 things for an image \('y', 'classes'\): say which"):
        read(data)


def test_an_open_size_must_be_said(written: Wrote) -> None:
    constants = {"a": np.ones((3, 1, 1, 4), np.float32), "b": np.ones(3, np.float32), "axes": np.int32([1, 2])}
    model = model_of([*ONE_CONVOLUTION, Step("MEAN", ("y", "axes"), ("z",))], constants, outputs=("z",))
    model[2][0][0][0][7] = ("i", [-1, -1, 7, 4])
    with pytest.raises(
        ZoovetError, match=r"leaves the size of its input open, \[4, '\?', 7\]; give images of that size"
    ):
        read(flatbuffer(model))
    assert read(flatbuffer(model), (4, 9, 7)).networks.graph.input_shape == (4, 9, 7)


def test_a_file_that_reads_channels_first(written: Wrote) -> None:
    """As converters from torch write it: what turns images around is not in the graph."""
    steps = [
        Step("TRANSPOSE", ("x", "order"), ("h",)),
        *[Step("CONV_2D", ("h", "a", "b"), settings=ONE_CONVOLUTION[0].settings)],
    ]
    constants = {"a": np.ones((5, 2, 2, 3), np.float32), "b": np.ones(5, np.float32), "order": np.int32([0, 2, 3, 1])}
    mean = [Step("MEAN", ("y", "axes"), ("z",))]
    data = written([*steps, *mean], {**constants, "axes": np.int32([1, 2])}, (1, 3, 8, 9), outputs=("z",))
    graph = read(data).networks.graph
    assert graph.input_shape == (3, 8, 9)
    assert [one.op for one in graph.operations] == ["conv2d", "mean"]


def test_settings_that_are_left_out_have_their_defaults() -> None:
    """A convolution without settings has strides of 0, which are none."""
    model = model_of([Step("CONV_2D", ("x", "a"))], {"a": np.ones((5, 1, 1, 4), np.float32)})
    model[2][0][3][0][3:] = [("B", 1), Table([])]
    with pytest.raises(
        ZoovetError, match=r"CONV_2D has strides or dilations that are none, in operator 'y' \(number 0\)"
    ):
        read(flatbuffer(model))
