"""Entries that constants pick: tables of places, masks; and constants that are computed from weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from zoovet.networks import Networks
from zoovet.readers.exported import UnknownOperation

pytest.importorskip("onnx")

from onnx import helper

Arrays = Mapping[str, Any]
_I = np.int64
_MASK = np.array([True, False, False, True, True, False, True]).reshape(7, 1)
_ROWS, _COLUMNS = np.array([[0, 1], [5, 2]], _I), np.array([3, 3, -1], _I)
_CROSSED = np.stack(
    [np.broadcast_to(_ROWS[:, :, None], (2, 2, 3)), np.broadcast_to(_COLUMNS[None, None], (2, 2, 3))], -1
)


def _numbers(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _crossed(table: np.ndarray[Any, Any]) -> tuple[list[Any], Arrays]:
    """Places of maps by rows and columns, as exporters write windows that overlap."""
    nodes = [
        helper.make_node("Transpose", ["h"], ["a"], perm=[2, 3, 0, 1]),
        helper.make_node("GatherND", ["a", "table"], ["b"], name="n"),
        helper.make_node("Transpose", ["b"], ["y"], perm=[3, 4, 0, 1, 2]),
    ]
    return nodes, {"table": table}


@pytest.mark.parametrize(
    "table", [np.array([[1, 0], [-1, 1], [2, 2]], _I), np.arange(4, dtype=_I).reshape(2, 2), np.array([[3]], _I)]
)
def test_entries_by_a_table_of_several_axes(table: Any, assert_as_onnx: Callable[..., None]) -> None:
    assert_as_onnx([helper.make_node("Gather", ["h", "table"], ["y"], axis=1)], {"table": table})


def test_the_axis_of_images_in_a_table_of_all_places(assert_as_onnx: Callable[..., None]) -> None:
    """As an exporter writes a view of what it takes for one image, or a few."""
    nodes = [
        helper.make_node("Reshape", ["h", "flat"], ["a"]),
        helper.make_node("Gather", ["a", "table"], ["y"], axis=0),
    ]
    tensors = {"flat": np.array([-1], _I), "table": np.arange(4 * 4 * 42, dtype=_I).reshape(4, 4, 42)}
    assert_as_onnx(nodes, tensors)


def test_places_by_rows_and_columns(assert_as_onnx: Callable[..., None]) -> None:
    assert_as_onnx(*_crossed(_CROSSED))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros((2, 3), _I), "picks entries by another table than one of rows and columns"),
        (np.full((2, 2), 7, _I), r"picks entries that are not among \[7, 6\]"),
        (np.array([[[0, 1], [1, 0]], [[1, 0], [0, 1]]], _I), "not one of rows by one of columns"),
    ],
)
def test_other_tables_are_said(table: Any, message: str, read: Callable[..., Networks]) -> None:
    with pytest.raises(UnknownOperation, match=rf"^the ONNX file: GatherND .*{message}, in node 'n'"):
        read(*_crossed(table))


def _masked(mask: Any, numbers: Any, *, swapped: bool = False) -> tuple[list[Any], Arrays]:
    sides = ["numbers", "h"] if swapped else ["h", "numbers"]
    return [helper.make_node("Where", ["mask", *sides], ["y"], name="n")], {"mask": mask, "numbers": numbers}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("numbers", [np.float32(0), np.float32(2.5), _numbers(4, 1, 1)])
def test_a_constant_mask(numbers: Any, swapped: bool, assert_as_onnx: Callable[..., None]) -> None:
    assert_as_onnx(*_masked(_MASK, numbers, swapped=swapped))


def test_a_mask_between_two_values(assert_as_onnx: Callable[..., None]) -> None:
    nodes = [
        helper.make_node("Sigmoid", ["h"], ["a"]),
        helper.make_node("Where", ["mask", "a", "h"], ["y"]),
    ]
    assert_as_onnx(nodes, {"mask": _numbers(4, 7, 6) > 0})


def test_numbers_that_are_not_finite_are_no_side_of_a_mask(read: Callable[..., Networks]) -> None:
    with pytest.raises(UnknownOperation, match="Where puts numbers that are not finite beside values that depend"):
        read(*_masked(_MASK, np.float32(-np.inf)))


CONSTANTS: list[tuple[str, Arrays, Arrays]] = [
    ("MatMul", {"a": _numbers(4, 3), "b": _numbers(3, 1)}, {}),
    ("Gemm", {"a": _numbers(3, 4), "b": _numbers(1, 3), "c": _numbers(4, 1)}, {"transA": 1, "transB": 1, "beta": 0.5}),
    ("ReduceMean", {"a": _numbers(4, 5), "axes": np.array([-1], _I)}, {}),
    ("ReduceSum", {"a": _numbers(4, 5), "axes": np.array([1], _I)}, {"keepdims": 1}),
    ("ReduceMax", {"a": _numbers(4, 2, 5)}, {"keepdims": 0}),
    ("ReduceMin", {"a": _numbers(4, 1), "none": np.zeros(0, _I)}, {"noop_with_empty_axes": 1}),
    ("Relu", {"a": _numbers(4, 1)}, {}),
    ("GatherND", {"a": _numbers(5, 3), "table": np.array([[[4, 0]], [[-1, 2]], [[0, 1]], [[2, 2]]], _I)}, {}),
]


@pytest.mark.parametrize(("op", "inputs", "attributes"), CONSTANTS)
def test_what_is_computed_of_constants(
    op: str, inputs: Arrays, attributes: Arrays, assert_as_onnx: Callable[..., None]
) -> None:
    nodes = [
        helper.make_node(op, list(inputs), ["made"], name="n", **attributes),
        helper.make_node("Reshape", ["made", "shape"], ["numbers"]),
        helper.make_node("Mul", ["h", "numbers"], ["y"]),
    ]
    count = 1 if op == "ReduceMax" else 4
    assert_as_onnx(nodes, {**inputs, "shape": np.array([count, 1, 1], _I)})


def test_a_batch_norm_of_weights(assert_as_onnx: Callable[..., None]) -> None:
    names = ["scale", "offset", "mean", "variance"]
    nodes = [
        helper.make_node("BatchNormalization", ["w", *names], ["normal"], epsilon=0.01),
        helper.make_node("Conv", ["h", "normal"], ["y"]),
    ]
    assert_as_onnx(
        nodes, {"w": _numbers(3, 4, 2, 2), **dict.fromkeys(names[:3], _numbers(4)), names[3]: _numbers(4) ** 2}
    )


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("GatherND", {"a": _numbers(4, 3), "b": np.array([[4]], _I)}, {}, r"picks entries that are not among \[4, 3\]"),
        ("GatherND", {"a": _numbers(4, 3), "b": np.array([[1]], _I)}, {"batch_dims": 1}, "tables that differ"),
        ("MatMul", {"a": _numbers(4), "b": _numbers(4, 4)}, {}, "multiplies by a vector"),
        ("MatMul", {"a": _numbers(2**14, 1), "b": _numbers(1, 2**14)}, {}, "more than 134217728 numbers"),
        ("Gemm", {"a": _numbers(4, 1), "b": _numbers(1, 1), "c": _numbers(1, 4)}, {}, r"adds \[1, 4\] numbers to"),
        (
            "BatchNormalization",
            dict(zip("wsomv", (_numbers(2, 1), *[_numbers(4)] * 4), strict=True)),
            {},
            "of 1 channels",
        ),
    ],
)
def test_what_cannot_be_computed_is_said(
    op: str, inputs: Arrays, attributes: Arrays, message: str, read: Callable[..., Networks]
) -> None:
    nodes = [
        helper.make_node(op, list(inputs), ["made"], name="n", **attributes),
        helper.make_node("Add", ["h", "made"], ["y"]),
    ]
    with pytest.raises(UnknownOperation, match=rf"{op} .*{message}"):
        read(nodes, inputs)
