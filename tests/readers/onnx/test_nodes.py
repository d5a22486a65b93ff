"""Each operation of ONNX that is read, beside what ONNX's own evaluator computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.networks import run
from zoovet.readers import content_of_bytes
from zoovet.readers.network_file import NetworkFile

pytest.importorskip("onnx")

from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def network_from_onnx(data: bytes, input_shape: tuple[int, ...] | None = None) -> NetworkFile:
    """Read as whoever is given a file's bytes does."""
    graph = content_of_bytes(data, "the ONNX file").graph
    assert graph is not None
    assert graph.format_name == "ONNX"
    return graph.read(input_shape, None)


Arrays = Mapping[str, Any]
_MAP = (4, 7, 6)


def model_of(nodes: list[Any], shape: tuple[Any, ...], tensors: Arrays, opset: int = 17) -> ModelProto:
    """A model from ``x`` [N, *shape] to ``y``."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(one), name) for name, one in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def assert_same(model: ModelProto, shape: tuple[int, ...], *, positive: bool = False) -> None:
    images = np.random.default_rng(0).standard_normal((3, *shape)).astype(np.float32) * 2
    images = np.abs(images) + 0.1 if positive else images
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": images})
    networks = network_from_onnx(model.SerializeToString()).networks
    answers = run(networks, torch.from_numpy(images))[0].numpy()
    assert answers.shape == wanted.shape
    assert np.abs(answers - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert np.abs(wanted).max() > 0


def _random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


_I = np.int64
CASES: list[tuple[str, Arrays, Arrays, int]] = [
    ("Relu", {}, {}, 9),
    ("LeakyRelu", {}, {"alpha": 0.2}, 9),
    ("LeakyRelu", {}, {}, 16),
    ("PRelu", {"s": _random(4, 1, 1)}, {}, 9),
    ("PRelu", {"s": _random(1)}, {}, 16),
    ("Elu", {}, {"alpha": 0.7}, 9),
    ("Selu", {}, {}, 9),
    ("Celu", {}, {"alpha": 0.7}, 12),
    ("Gelu", {}, {}, 20),
    ("Gelu", {}, {"approximate": "tanh"}, 20),
    ("Softplus", {}, {}, 9),
    ("Softsign", {}, {}, 9),
    ("HardSigmoid", {}, {}, 9),
    ("HardSigmoid", {}, {"alpha": 1 / 6, "beta": 0.5}, 9),
    ("HardSwish", {}, {}, 14),
    ("Mish", {}, {}, 18),
    ("Swish", {}, {"alpha": 0.8}, 24),
    ("Swish", {}, {}, 24),
    ("Sigmoid", {}, {}, 9),
    ("Tanh", {}, {}, 9),
    ("Sin", {}, {}, 9),
    ("Exp", {}, {}, 9),
    ("Abs", {}, {}, 9),
    ("Neg", {}, {}, 9),
    ("Reciprocal", {}, {}, 9),
    ("Pow", {"e": np.float32(2)}, {}, 12),
    ("Clip", {}, {"min": 0.0, "max": 6.0}, 9),
    ("Clip", {"lo": np.float32(0), "hi": np.float32(6)}, {}, 13),
    ("Clip", {"": None, "hi": np.float32(1)}, {}, 13),
    ("Identity", {}, {}, 9),
    ("Dropout", {}, {}, 13),
    ("Cast", {}, {"to": TensorProto.FLOAT}, 13),
    ("Add", {"c": _random(1, 4, 1, 1)}, {}, 9),
    ("Add", {"c": _random(7, 6)}, {}, 9),
    ("Sub", {"c": _random(4, 1, 1)}, {}, 9),
    ("Mul", {"c": _random(4, 1, 1)}, {}, 9),
    ("Div", {"c": _random(6)}, {}, 9),
    ("Div", {"c": np.float32(3)}, {}, 9),
    ("Max", {"c": _random(4, 1, 1)}, {}, 12),
    ("Min", {"c": np.array([0.3], np.float32)}, {}, 12),
    ("Sum", {"c": _random(4, 1, 1), "d": _random(6)}, {}, 9),
    ("Mean", {"c": _random(4, 1, 1)}, {}, 9),
    ("Softmax", {}, {}, 13),
    ("Softmax", {}, {"axis": 1}, 13),
    ("LogSoftmax", {}, {"axis": 1}, 13),
    ("MaxPool", {}, {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}, 12),
    ("MaxPool", {}, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, 12),
    ("MaxPool", {}, {"kernel_shape": [3, 3]}, 9),
    ("MaxPool", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, 12),
    ("AveragePool", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, 11),
    ("AveragePool", {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 11),
    ("AveragePool", {}, {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, 11),
    ("GlobalAveragePool", {}, {}, 9),
    ("GlobalMaxPool", {}, {}, 9),
    ("BatchNormalization", {"a1": _random(4), "a2": _random(4), "a3": _random(4), "a4": _random(4) ** 2}, {}, 15),
    ("Div", {"c": _random(4, 1, 1)}, {}, 7),
    ("InstanceNormalization", {"a1": _random(4), "a2": _random(4)}, {"epsilon": 1e-3}, 9),
    ("LayerNormalization", {"a1": _random(6), "a2": _random(6)}, {}, 17),
    ("LayerNormalization", {"a1": _random(7, 6)}, {"axis": -2}, 17),
    ("GroupNormalization", {"a1": _random(4), "a2": _random(4)}, {"num_groups": 2}, 21),
    ("GroupNormalization", {"a1": _random(2), "a2": _random(2)}, {"num_groups": 2}, 18),
    ("ReduceMean", {}, {"axes": [2, 3], "keepdims": 0}, 11),
    ("ReduceMean", {"axes": np.array([-1], _I)}, {}, 18),
    ("ReduceSum", {"axes": np.array([1, 2], _I)}, {}, 13),
    ("ReduceMax", {}, {"axes": [1]}, 13),
    ("ReduceL2", {"axes": np.array([1], _I)}, {}, 18),
    ("ReduceL1", {"axes": np.array([1], _I)}, {"keepdims": 0}, 18),
    ("Flatten", {}, {}, 9),
    ("Flatten", {}, {"axis": -3}, 11),
    ("Reshape", {"s": np.array([0, -1], _I)}, {}, 9),
    ("Reshape", {"s": np.array([-1, 2, 2, 42], _I)}, {}, 14),
    ("Transpose", {}, {"perm": [0, 2, 3, 1]}, 13),
    ("Unsqueeze", {}, {"axes": [1]}, 11),
    ("Unsqueeze", {"axes": np.array([-1, 1], _I)}, {}, 13),
    ("Concat", {"": None}, {"axis": 1}, 13),
    ("Split", {}, {"axis": 1, "split": [1, 3]}, 11),
    ("Split", {"s": np.array([3, 1], _I)}, {"axis": 1}, 13),
    ("Split", {}, {"axis": 2, "num_outputs": 2}, 18),
    ("Slice", {}, {"starts": [1, 0], "ends": [3, -1], "axes": [1, 2]}, 9),
    (
        "Slice",
        {"s": np.array([-3], _I), "e": np.array([2**62], _I), "ax": np.array([3], _I), "t": np.array([2], _I)},
        {},
        13,
    ),
    ("Pad", {}, {"pads": [0, 0, 1, 2, 0, 1, 0, 0], "value": 0.5}, 9),
    ("Pad", {"p": np.array([0, 0, 1, 2, 0, 1, 0, 0], _I)}, {}, 13),
    ("Pad", {"p": np.array([1, 2], _I), "v": np.float32(0), "ax": np.array([3], _I)}, {}, 18),
    ("Gather", {"i": np.array(1, _I)}, {"axis": 1}, 13),
    ("Gather", {"i": np.array([1, 2, 3], _I)}, {"axis": 1}, 13),
    ("Gather", {"i": np.array([3, 0, -2, 1], _I)}, {"axis": 1}, 13),
    ("Expand", {"s": np.array([1, 4, 7, 6], _I)}, {}, 13),
    ("Tile", {"s": np.array([1, 1, 1, 1], _I)}, {}, 13),
    ("DepthToSpace", {}, {"blocksize": 2}, 13),
    ("DepthToSpace", {}, {"blocksize": 2, "mode": "CRD"}, 13),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "opset"), CASES)
def test_an_operation_computes_what_onnx_computes(op: str, inputs: Arrays, attributes: Arrays, opset: int) -> None:
    num_outputs = 2 if op == "Split" else 1
    names = list(inputs) if op != "Concat" else ["a"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node(op, ["a", *names], ["y", "y1"][:num_outputs], **attributes),
    ]
    tensors = {"w": _random(4, 4, 1, 1), **{name: one for name, one in inputs.items() if name}}
    assert_same(model_of(nodes, _MAP, tensors, opset), _MAP, positive=op == "Reciprocal")


CONVOLUTIONS: list[tuple[tuple[int, ...], Arrays]] = [
    ((6, 4, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 1]}),
    ((6, 4, 3, 2), {"pads": [0, 1, 2, 0], "dilations": [2, 1]}),
    ((6, 2, 3, 3), {"group": 2}),
    ((4, 1, 3, 3), {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((6, 4, 2, 3), {"auto_pad": "SAME_LOWER"}),
    ((6, 4, 2, 3), {"auto_pad": "VALID", "kernel_shape": [2, 3]}),
]


@pytest.mark.parametrize(("shape", "attributes"), CONVOLUTIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_convolutions(shape: tuple[int, ...], attributes: Arrays, bias: bool) -> None:
    names = ["x", "w", "b"] if bias else ["x", "w"]
    node = helper.make_node("Conv", names, ["y"], **attributes)
    tensors = {"w": _random(*shape), **({"b": _random(shape[0])} if bias else {})}
    assert_same(model_of([node], _MAP, tensors), _MAP)


GEMMS: list[tuple[Arrays, Arrays]] = [
    ({"w": _random(5, 3), "c": _random(3)}, {}),
    ({"w": _random(3, 5), "c": _random(1, 3)}, {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ({"w": _random(3, 5), "c": np.float32(0.7)}, {"transB": 1}),
    ({"w": _random(5, 3)}, {}),
]


@pytest.mark.parametrize(("tensors", "attributes"), GEMMS)
def test_products_with_factors(tensors: Arrays, attributes: Arrays) -> None:
    assert_same(model_of([helper.make_node("Gemm", ["x", *tensors], ["y"], **attributes)], (5,), tensors), (5,))


def test_a_product_of_a_transposed_value() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("Gemm", ["t", "w"], ["y"], transA=1),
    ]
    assert_same(model_of(nodes, (5,), {"w": _random(5, 3)}), (5,))


def test_a_product_and_an_addition_are_one_linear_layer() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["b", "a"], ["y"])]
    model = model_of(nodes, (5,), {"w": _random(5, 3), "b": _random(3)})
    assert_same(model, (5,))
    (layer,) = network_from_onnx(model.SerializeToString()).networks.graph.operations
    assert (layer.op, layer.parameters["bias"]) == ("linear", "b")


def test_a_product_that_others_read_keeps_its_own_value() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Mul", ["a", "c"], ["y"]),
    ]
    assert_same(model_of(nodes, (5,), {"w": _random(5, 3), "b": _random(3)}), (5,))


def test_an_addition_behind_a_reshape_that_takes_images_apart_keeps_the_shape() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "rows"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "parts"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["y"]),
    ]
    sizes = {"rows": np.array([-1, 6]), "parts": np.array([-1, 7, 5])}
    assert_same(model_of(nodes, (42,), {"w": _random(6, 5), "b": _random(5), **sizes}), (42,))


def test_one_weight_in_two_layouts() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["a", "w"], ["y"], transB=1),
    ]
    assert_same(model_of(nodes, (4,), {"w": _random(4, 4)}), (4,))


@pytest.mark.parametrize("half_first", [False, True])
def test_gelu_by_an_error_function_is_one_operation(half_first: bool) -> None:
    product = ["half", "c"] if half_first else ["a", "c"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "h"], ["half"]) if half_first else helper.make_node("Identity", ["a"], ["z"]),
        helper.make_node("Div", ["a", "r"], ["e"]),
        helper.make_node("Erf", ["e"], ["f"]),
        helper.make_node("Add", ["f", "one"], ["c"]),
        helper.make_node("Mul", product, ["p"]),
        helper.make_node("Mul", ["p", "one" if half_first else "h"], ["y"]),
    ]
    numbers = {"r": np.float32(2**0.5), "one": np.float32(1), "h": np.float32(0.5)}
    model = model_of(nodes, _MAP, {"w": _random(4, 4, 1, 1), **numbers})
    assert_same(model, _MAP)
    assert [one.op for one in network_from_onnx(model.SerializeToString()).networks.graph.operations][1:] == ["gelu"]


def test_shapes_that_are_computed_and_a_number_of_images_that_is_open() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Constant", [], ["minus"], value_ints=[-1]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["m"]),
        helper.make_node("Concat", ["m", "minus"], ["t"], axis=0),
        helper.make_node("Reshape", ["a", "t"], ["y"]),
    ]
    tensors = {"w": _random(4, 4, 1, 1), "zero": np.array(0, _I), "axis": np.array([0], _I)}
    assert_same(model_of(nodes, _MAP, tensors), _MAP)


def test_a_table_whose_entries_are_replaced() -> None:
    nodes = [
        helper.make_node("Mod", ["five", "three"], ["two"], fmod=0),
        helper.make_node("Concat", ["zero", "two"], ["place"], axis=0),
        helper.make_node("Unsqueeze", ["place", "zero"], ["places"]),
        helper.make_node("ScatterND", ["table", "places", "new"], ["changed"]),
        helper.make_node("Mul", ["x", "changed"], ["y"]),
    ]
    numbers = {"five": 5, "three": 3, "zero": 0}
    tensors = {name: np.array([number], _I) for name, number in numbers.items()}
    model = model_of(nodes, (5,), {**tensors, "table": _random(1, 5), "new": np.array([7], np.float32)})
    assert_same(model, (5,))


def test_a_table_that_is_repeated_along_its_axes_and_for_each_image() -> None:
    nodes = [
        helper.make_node("Tile", ["table", "twice"], ["wide"]),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "two"], ["repeats"], axis=0),
        helper.make_node("Tile", ["table", "repeats"], ["each"]),
        helper.make_node("Add", ["x", "wide"], ["a"]),
        helper.make_node("Concat", ["a", "each"], ["y"], axis=1),
    ]
    numbers = {"twice": [1, 2], "two": [2], "zero": [0]}
    tensors = {name: np.array(each, _I) for name, each in numbers.items()}
    assert_same(model_of(nodes, (6,), {**tensors, "table": _random(1, 3)}), (6,))


@pytest.mark.parametrize("op", ["Log", "Sin", "Cos", "Tanh", "Sigmoid", "Erf", "Sign", "Round"])
def test_a_function_of_constants_is_computed(op: str) -> None:
    nodes = [helper.make_node(op, ["table"], ["made"]), helper.make_node("Add", ["x", "made"], ["y"])]
    assert_same(model_of(nodes, (6,), {"table": np.linspace(0.3, 2.8, 6, dtype=np.float32)[None]}), (6,))


@pytest.mark.parametrize("op", ["GreaterOrEqual", "LessOrEqual", "And", "Or"])
def test_a_comparison_of_constants_is_computed(op: str) -> None:
    kind = np.bool_ if op in ("And", "Or") else np.float32
    nodes = [
        helper.make_node(op, ["first", "second"], ["chosen"]),
        helper.make_node("Cast", ["chosen"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "mask"], ["y"]),
    ]
    tensors = {"first": np.array([[1, 1, 0, 0]], kind), "second": np.array([[1, 0, 1, 0]], kind)}
    assert_same(model_of(nodes, (4,), tensors), (4,))


def test_a_channel_shuffle_is_one_operation() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "dealt"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["c", "whole"], ["y"]),
    ]
    tensors = {"w": _random(4, 4, 1, 1), "dealt": np.array([-1, 2, 2, 7, 6], _I), "whole": np.array([-1, *_MAP], _I)}
    model = model_of(nodes, _MAP, tensors)
    assert_same(model, _MAP)
    graph = network_from_onnx(model.SerializeToString()).networks.graph
    assert [one.op for one in graph.operations] == ["conv2d", "channel_shuffle"]


def test_a_softmax_before_opset_13_is_over_all_axes_from_its_own_on() -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["a"]), helper.make_node("Softmax", ["a"], ["y"])]
    networks = network_from_onnx(model_of(nodes, _MAP, {"w": _random(4, 1, 1)}, 11).SerializeToString()).networks
    images = torch.randn(3, *_MAP, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(run(networks, images)[0].sum((1, 2, 3)), torch.ones(3))


def test_attention() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "q"], ["a"]),
        helper.make_node("MatMul", ["x", "k"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["a", "c"], ["d"]),
        helper.make_node("Softmax", ["d"], ["e"], axis=-1),
        helper.make_node("MatMul", ["e", "x"], ["y"]),
    ]
    assert_same(model_of(nodes, _MAP, {"q": _random(6, 5), "k": _random(6, 5)}), _MAP)
