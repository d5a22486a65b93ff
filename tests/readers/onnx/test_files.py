"""Files that are whole, and files that are damaged, odd, or made to harm: each is read, or refused in a line."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import SCALING_PRESETS, run
from zoovet.readers import content_of_bytes
from zoovet.readers.exported import UnknownOperation
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.onnx import read_onnx

pytest.importorskip("onnx")

from onnx import ModelProto, TensorProto, helper, numpy_helper


def network_from_onnx(data: bytes, input_shape: tuple[int, ...] | None = None) -> NetworkFile:
    """Read as whoever is given a file's bytes does."""
    graph = content_of_bytes(data, "the ONNX file").graph
    assert graph is not None
    assert graph.format_name == "ONNX"
    return graph.read(input_shape, None)


_I = np.int64


def _numbers(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


_WEIGHTS: Mapping[str, Any] = {"w": _numbers(4, 3, 3, 3), "v": _numbers(4, 2)}


def _small(
    extra: Sequence[Any] = (),
    tensors: Mapping[str, Any] | None = None,
    *,
    shape: Sequence[int | str | None] = ("N", 3, 6, 6),
    outputs: Sequence[str] = ("y",),
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
    source: str = "x",
) -> ModelProto:
    """A convolution, a pooling, a linear layer, and what is added to them."""
    nodes = [
        helper.make_node("Conv", [source, "w"], ["a"], name="conv"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="fc"),
        *extra,
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(one), name) for name, one in {**_WEIGHTS, **(tensors or {})}.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _read(model: ModelProto, **settings: Any) -> Any:
    return network_from_onnx(model.SerializeToString(), **settings)


_IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_parameters_keep_their_names_and_a_file_says_what_it_answers(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(_small().SerializeToString())
    read = read_onnx(tmp_path / "a.onnx")
    assert list(read.networks.graph.shapes) == ["w", "fc.weight"]
    assert torch.equal(read.networks.parameters["w"][0], torch.from_numpy(_WEIGHTS["w"]))
    assert [one.output for one in read.networks.graph.operations] == ["conv", "pool", "flat", "fc"]
    assert read.notes == ()


def test_nodes_in_any_order_and_in_another_number_of_images() -> None:
    wanted = run(_read(_small()).networks, _IMAGES)
    shuffled = _small(shape=(5, 3, 6, 6))
    shuffled.graph.node.sort(key=lambda node: node.name)
    assert torch.equal(run(_read(shuffled).networks, _IMAGES), wanted)


@pytest.mark.parametrize("batch", [1, 2])
def test_reshapes_to_a_fixed_number_of_images(batch: int) -> None:
    nodes = [
        helper.make_node("Reshape", ["a", "t"], ["b"]),
        helper.make_node("MatMul", ["b", "u"], ["z"]),
    ]
    tensors = {"t": np.array([batch, 64], _I), "u": _numbers(64, 2)}
    model = _small(nodes, tensors, shape=(batch, 3, 6, 6), outputs=("z",))
    expected = torch.nn.functional.conv2d(_IMAGES, torch.from_numpy(_WEIGHTS["w"])).flatten(1)
    answers = run(_read(model).networks, _IMAGES)[0]
    torch.testing.assert_close(answers, expected @ torch.from_numpy(tensors["u"]))


def test_an_open_size_is_asked_for() -> None:
    model = _small(shape=("N", 3, "height", None))
    with pytest.raises(ZoovetError, match=r"open, \[3, '\?', '\?'\]; give .*--input-shape 3,32,32, .*=\(3, 32, 32\)$"):
        _read(model)
    assert _read(model, input_shape=(3, 6, 6)).networks.graph.input_shape == (3, 6, 6)
    with pytest.raises(ZoovetError, match=r"reads images of \[3, '\?', '\?'\], not \[1, 6, 6\]$"):
        _read(model, input_shape=(1, 6, 6))


def test_some_exporters_write_an_open_size_as_minus_one() -> None:
    model = _small(shape=(-1, 3, -1, -1))
    assert _read(model, input_shape=(3, 6, 6)).networks.graph.input_shape == (3, 6, 6)
    with pytest.raises(ZoovetError, match=r"its input 'x' has a negative size$"):
        _read(_small(shape=(-1, 3, -2, 6)))


def test_an_input_without_axes_takes_those_given() -> None:
    model = _small()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ZoovetError, match=r"its input 'x' has no shape; give .*--input-shape 3,32,32"):
        _read(model)
    read = _read(model, input_shape=(3, 6, 6))
    assert torch.equal(run(read.networks, _IMAGES), run(_read(_small()).networks, _IMAGES))
    with pytest.raises(ZoovetError, match=r"reads 3 channels, but 1 come in"):
        _read(model, input_shape=(1, 6, 6))


def test_channels_last_files_read_images_with_channels_first() -> None:
    turn = helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])
    model = _small([turn], shape=("N", 6, 6, 3), source="t")
    read = _read(model)
    assert torch.equal(run(read.networks, _IMAGES), run(_read(_small()).networks, _IMAGES))
    assert read.networks.graph.operations[0].op == "conv2d"
    assert read.notes == ("the file reads channels last; images are given channels first",)


def test_images_without_an_axis_of_channels() -> None:
    node = helper.make_node("Flatten", ["x"], ["b"])
    model = _small([node, helper.make_node("MatMul", ["b", "u"], ["z"])], {"u": _numbers(36, 2)}, shape=("N", 6, 6))
    model.graph.output[0].name = "z"
    images = _IMAGES[:, :1]
    answers = run(_read(model).networks, images)[0]
    torch.testing.assert_close(answers, images.flatten(1) @ torch.from_numpy(_numbers(36, 2)))


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_weights_of_other_precision_are_read_as_float32_and_named(dtype: str) -> None:
    model = _small()
    kind = {"float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE, "bfloat16": TensorProto.BFLOAT16}[dtype]
    given = torch.from_numpy(_WEIGHTS["w"]).to(getattr(torch, dtype))
    raw = given.view(torch.int16).numpy() if given.element_size() == 2 else given.numpy()
    model.graph.initializer[0].CopyFrom(TensorProto(name="w", dims=given.shape, data_type=kind, raw_data=raw.tobytes()))
    read = _read(model)
    assert torch.equal(read.networks.parameters["w"][0], given.float())
    assert read.notes[0].startswith("weights of ")


def test_numbers_may_lie_in_typed_fields() -> None:
    model = _small()
    model.graph.initializer[0].CopyFrom(
        helper.make_tensor("w", TensorProto.FLOAT, (4, 3, 3, 3), _WEIGHTS["w"].flatten())
    )
    assert torch.equal(run(_read(model).networks, _IMAGES), run(_read(_small()).networks, _IMAGES))


def test_one_of_several_outputs_is_asked_for(tmp_path: Path) -> None:
    model, path = _small(outputs=("y", "p")), tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    message = r"^the ONNX file: the network answers 2 things for an image \('y', 'p'\): say which are its classes"
    with pytest.raises(ZoovetError, match=message):
        _read(model)
    assert read_onnx(path, output=1).networks.graph.output_shape == (4, 1, 1)
    with pytest.raises(ZoovetError, match="output must lie in 0 to 1, got 2"):
        read_onnx(path, output=2)


def _without_weights(model: ModelProto) -> None:
    del model.graph.initializer[0]


def _cycle(model: ModelProto) -> None:
    model.graph.node[1].input[0] = "f"


def _twice(model: ModelProto) -> None:
    model.graph.node[1].output[0] = "a"


def _second_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def _sparse(model: ModelProto) -> None:
    model.graph.sparse_initializer.add()


def _few_numbers(model: ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"1234"


def _huge(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**62, 2**62]


def _negative(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-4, -3, 3, 3]


def _quantized_weight(model: ModelProto) -> None:
    model.graph.initializer[0].data_type = TensorProto.INT4


def _not_finite(model: ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(_WEIGHTS["w"] * np.float32(np.nan), "w"))


def _old(model: ModelProto) -> None:
    model.opset_import[0].version = 6


def _escape(model: ModelProto) -> None:
    model.graph.node[0].input[1] = "w\x1b[2J\n"


def _texts(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def _no_nodes(model: ModelProto) -> None:
    model.graph.ClearField("node")


REFUSED: list[tuple[Callable[[ModelProto], None], str]] = [
    (_without_weights, r"Conv reads 'w', which is no input and no initializer, and nothing makes it, in node 'conv'"),
    (_cycle, r"its nodes form a cycle: GlobalAveragePool waits for itself, in node 'pool' \(number 1\)$"),
    (_twice, r"'a' is made twice, again in node 'pool'"),
    (_second_input, r"has 2 inputs \('x', 'mask'\); a network reads images alone$"),
    (_sparse, r"has sparse tensors"),
    (_few_numbers, r"'w' says \[4, 3, 3, 3\] numbers of float, 432 bytes, and has 4$"),
    (_huge, r"'w' says \[4611686018427387904, 4611686018427387904\] numbers of float, \d+ bytes, and has 432$"),
    (_negative, r"'w' has the shape \[-4, -3, 3, 3\], which is none$"),
    (_quantized_weight, r"'w' is of int4; weights are dense real numbers of 16 to 64 bits$"),
    (_not_finite, r"its weights: network 0 has NaN or infinite numbers in 'w'$"),
    (_old, r"is of opset 6; opsets 7 to 28 are read"),
    (_escape, r"Conv reads 'w\\x1b\[2J\\n'"),
    (_texts, r"its input 'x' is of string; images are numbers"),
    (_no_nodes, r"has no nodes"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_is_wrong_is_said_in_one_line(change: Callable[[ModelProto], None], message: str) -> None:
    model = _small()
    change(model)
    with pytest.raises(ZoovetError, match="^the ONNX file: .*" + message) as error:
        _read(model)
    assert "\n" not in str(error.value)


def test_weights_that_no_node_reads_are_an_error_but_other_leftovers_are_not() -> None:
    with pytest.raises(ZoovetError, match=r"'u' \[2, 2\] is read by no node: the file is not whole$"):
        _read(_small(tensors={"u": _numbers(2, 2)}))
    assert len(_read(_small(tensors={"u": np.array([1, 2], _I)})).networks) == 1


_THEN = helper.make_graph([], "then", [], [])
BEYOND: list[tuple[Any, str]] = [
    (helper.make_node("If", ["c"], ["z"], name="n", then_branch=_THEN, else_branch=_THEN), "If decides or repeats"),
    (helper.make_node("Loop", ["", "", "y"], ["z"], name="n", body=_THEN), "Loop decides or repeats"),
    (helper.make_node("Foo", ["y"], ["z"], name="n", domain="com.example"), "com.example::Foo is no operation of ONNX"),
    (helper.make_node("QuantizeLinear", ["y", "s"], ["z"], name="n"), "QuantizeLinear is quantized"),
    (helper.make_node("DequantizeLinear", ["y", "s"], ["z"], name="n"), "DequantizeLinear is quantized"),
    (helper.make_node("CumSum", ["y", "c"], ["z"], name="n"), "CumSum is not in the vocabulary of graphs"),
    (helper.make_node("Resize", ["a", "", "s"], ["z"], name="n"), "Resize says neither four factors nor four sizes"),
    (helper.make_node("Relu", ["y"], ["z"], name="n", slope=2), "Relu has the attribute 'slope', which is not known"),
    (helper.make_node("Elu", ["y"], ["z"], name="n", alpha="b"), "Elu has an attribute 'alpha' of another type"),
    (helper.make_node("Gemm", ["y", "big"], ["z"], name="n"), "Gemm does not fit: .*reads 3 features"),
    (helper.make_node("Add", ["y", "big"], ["z"], name="n"), r"Add puts \['N', 2\] and \[3, 3\] together"),
    (helper.make_node("Reshape", ["y", "c"], ["z"], name="n"), "Reshape has the shape"),
    (helper.make_node("Softmax", ["y"], ["z"], name="n", axis=0), "Softmax works across images"),
    (
        helper.make_node("BatchNormalization", ["a", "c", "c", "c", "c"], ["z"], name="n", spatial=0),
        "BatchNormalization has numbers for each place of a map",
    ),
    (helper.make_node("Transpose", ["y"], ["z"], name="n", perm=[0, 7]), "Transpose names the axis 7 of 2"),
    (helper.make_node("Pad", ["y", "pads"], ["z"], name="n", mode="reflect"), "Pad pads in the mode 'reflect'"),
]


@pytest.mark.parametrize(("node", "message"), BEYOND)
def test_operations_beyond_the_vocabulary_are_named_with_their_node(node: Any, message: str) -> None:
    tensors = {"c": np.array([7], _I), "s": _numbers(1), "big": _numbers(3, 3), "pads": np.array([0, 1, 0, 1], _I)}
    read = {name: tensors[name] for name in node.input if name in tensors}
    model = _small([node], read, outputs=("z",))
    with pytest.raises(UnknownOperation, match=rf"^the ONNX file: ({message}).*, in node 'n' \(number 4\)$"):
        _read(model)


def test_a_file_that_reads_bytes() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["c", "top"], ["d"]),
    ]
    read = _read(_small(nodes, {"top": np.float32(255)}, dtype=TensorProto.UINT8, source="d"))
    assert read.networks.graph.input_scaling == SCALING_PRESETS["unit"]
    assert read.notes[0] == "the file reads uint8; its network is read in float32"
    assert torch.equal(run(read.networks, _IMAGES), run(_read(_small()).networks, _IMAGES))


def test_a_weight_of_one_number_is_learned_and_statistics_are_not() -> None:
    norm = helper.make_node("BatchNormalization", ["y", "g", "h", "m", "s"], ["n"])
    last = helper.make_node("Gemm", ["n", "u", "b"], ["z"])
    tensors = {"u": _numbers(2, 1), "b": _numbers(1), **dict.fromkeys("ghms", np.ones(2, np.float32))}
    parameters = _read(_small([norm, last], tensors, outputs=("z",))).networks.graph.parameters
    assert {one.name for one in parameters if one.is_constant} == {"m", "s"}
    assert "b" in {one.name for one in parameters}


def test_names_that_are_no_text() -> None:
    data = _small().SerializeToString().replace(b"conv", b"\xff\xfe\xfd\xfc")
    with pytest.raises(ZoovetError, match=r"^the ONNX file is damaged or truncated: a name in it is no text in UTF-8"):
        network_from_onnx(data)


def test_constants_do_not_take_all_memory() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"], name="bomb"),
        helper.make_node("ReduceProd", ["c"], ["d"], keepdims=0),
        helper.make_node("Mul", ["y", "d"], ["z"]),
    ]
    model = _small(nodes, {"s": np.array([2**20, 2**20], _I)}, outputs=("z",))
    with pytest.raises(UnknownOperation, match=r"more than 134217728 numbers, in node 'bomb'"):
        _read(model)


def test_two_bytes_an_object_do_not_take_all_memory() -> None:
    nodes = b"\x0a\x00" * 600_000
    size = len(nodes)
    length = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
    with pytest.raises(ZoovetError, match=r"^the ONNX file has more than 500000 parts"):
        network_from_onnx(b"\x3a" + length + nodes)


def test_much_beside_the_numbers_is_refused() -> None:
    model = _small()
    model.graph.doc_string = "a" * (17 << 20)
    with pytest.raises(ZoovetError, match=r"has 17 MB beside the numbers of its tensors; 16 MB are read$"):
        _read(model)


def test_damage_never_raises_another_error() -> None:
    data = _small().SerializeToString()
    draw = random.Random(0)
    messages = []
    for trial in range(300):
        damaged = bytearray(data[: draw.randrange(len(data))] if trial % 3 == 0 else data)
        for _ in range(draw.randrange(1, 4) if trial % 3 else 0):
            place = draw.randrange(200) if trial % 2 else draw.randrange(len(damaged))
            damaged[place % len(damaged)] ^= 1 << draw.randrange(8)
        try:
            network_from_onnx(bytes(damaged))
        except ZoovetError as error:
            messages.append(str(error))
    assert len(messages) > 150
    assert all(message.isprintable() for message in messages)


def test_a_file_that_is_missing_or_none(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"gone\.onnx does not exist$"):
        read_onnx(tmp_path / "gone.onnx")
    with pytest.raises(ZoovetError, match=r"cannot be read: it is a folder"):
        read_onnx(tmp_path)
    (tmp_path / "text.onnx").write_text("no protobuf at all")
    with pytest.raises(ZoovetError, match=r"text\.onnx is not a weight file: it is a text"):
        read_onnx(tmp_path / "text.onnx")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "weights.onnx")
    with pytest.raises(ZoovetError, match=r"weights\.onnx is no ONNX file, but a weight file; zoovet\.read reads it$"):
        read_onnx(tmp_path / "weights.onnx")
