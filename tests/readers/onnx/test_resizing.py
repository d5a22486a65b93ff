"""Nodes that bring maps to another size, and those that look at neighbouring channels, beside ONNX' own evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.networks import Networks
from zoovet.readers.exported import UnknownOperation

pytest.importorskip("onnx")

from onnx import helper

Arrays = Mapping[str, Any]
Answers = Callable[..., Tensor]
_TWICE, _ODD = np.array([1, 1, 2, 3], np.float32), np.array([4, 4, 5, 9], np.int64)
_NONE = {"roi": np.zeros(0, np.float32), "none": np.zeros(0, np.float32)}
_FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
_LINEAR = {"mode": "linear"}


def _node(op: str, inputs: Arrays, attributes: Arrays) -> tuple[list[Any], Arrays]:
    """One that reads maps and arrays, and the arrays."""
    node = helper.make_node(op, ["h", *inputs], ["y"], name="n", **attributes)
    return [node], {name: one for name, one in inputs.items() if name}


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "opset"),
    [
        ("Resize", {"": None, "s": _TWICE}, {}, 13),
        ("Resize", {"": None, "s": _TWICE}, _FLOOR, 18),
        ("Resize", {**_NONE, "s": _ODD}, _FLOOR, 13),
        ("Resize", {"": None, "s": np.ones(4, np.float32)}, {}, 13),
        ("Resize", {"": None, "s": _TWICE}, _LINEAR, 13),
        ("Resize", {"": None, "s": _TWICE}, {"mode": "cubic"}, 13),
        ("Resize", {**_NONE, "s": _ODD}, {**_LINEAR, "coordinate_transformation_mode": "align_corners"}, 13),
        ("Resize", {**_NONE, "s": _ODD}, {**_LINEAR, "coordinate_transformation_mode": "pytorch_half_pixel"}, 13),
        ("LRN", {}, {"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 2.0}, 9),
        ("LRN", {}, {"size": 2, "alpha": 0.5}, 13),
        ("LRN", {}, {"size": 5, "alpha": 0.5}, 13),
    ],
)
def test_an_operation_computes_what_onnx_computes(
    op: str, inputs: Arrays, attributes: Arrays, opset: int, assert_as_onnx: Callable[..., None]
) -> None:
    assert_as_onnx(*_node(op, inputs, attributes), opset)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("Resize", {"": None, "s": _TWICE[:2]}, {}, "says neither four factors nor four sizes"),
        ("Resize", {"": None, "s": np.array([1, 2, 1, 1], np.float32)}, {}, "resizes images or channels"),
        ("Resize", {**_NONE, "s": np.array([4, 4, 0, 6], np.int64)}, {}, "resizes images or channels, or to nothing"),
        ("Resize", {**_NONE, "s": np.array([4, 4, 2**31, 6], np.int64)}, {}, "more than 16384 rows or columns"),
        ("Resize", {"": None, "s": np.array([1, 1, 1e9, 1], np.float32)}, {}, "more than 16384 rows or columns"),
        ("Resize", {"": None, "s": _TWICE}, {"antialias": 1}, "smooths before it resizes"),
        ("Resize", {"": None, "s": _TWICE}, {"keep_aspect_ratio_policy": "not_larger"}, "keeps the ratio"),
        ("Resize", {"": None, "s": _TWICE[2:]}, {"axes": [2, 3]}, "names the axes that it resizes"),
        ("Resize", {"": None, "s": _TWICE}, {"mode": "area"}, "by the mode 'area' with places 'half_pixel'"),
        ("Resize", {"": None, "s": _TWICE}, {"nearest_mode": "ceil"}, "takes other neighbours than torch's"),
        ("Resize", {"": None, "s": _TWICE}, {"mode": "cubic", "cubic_coeff_a": -0.5}, "has another coefficient"),
        ("Resize", {"": None, "s": _TWICE}, {**_FLOOR, **_LINEAR}, "'asymmetric', as torch's interpolations do not"),
        ("LRN", {}, {}, "has no size"),
    ],
)
def test_what_torch_does_not_compute_is_said(
    op: str, inputs: Arrays, attributes: Arrays, message: str, read: Callable[..., Networks]
) -> None:
    with pytest.raises(UnknownOperation, match=rf"{op} .*{message}.*, in node 'n' \(number 1\)$"):
        read(*_node(op, inputs, attributes))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "opset"),
    [
        ("Upsample", {}, {"scales": [1.0, 1.0, 2.0, 3.0]}, 8),
        ("Upsample", {"s": _TWICE}, {}, 9),
        ("Resize", {"s": _TWICE}, {}, 10),
        ("Resize", {"": None, "s": _TWICE}, {**_FLOOR, "coordinate_transformation_mode": "tf_half_pixel_for_nn"}, 11),
    ],
)
def test_what_is_of_former_versions_is_as_in_torch(
    op: str, inputs: Arrays, attributes: Arrays, opset: int, answers: Answers
) -> None:
    small, twice = answers(*_node("Relu", {}, {})), answers(*_node(op, inputs, attributes), opset)
    assert torch.equal(twice.relu(), functional.interpolate(small, scale_factor=(2, 3)))


def test_an_average_of_neighbouring_channels(
    read: Callable[..., Networks], assert_as_onnx: Callable[..., None]
) -> None:
    """As torch's exporters write a norm by neighbouring channels."""
    nodes = [
        helper.make_node("Unsqueeze", ["h", "one"], ["a"]),
        helper.make_node("AveragePool", ["a"], ["b"], kernel_shape=[3, 1, 1], strides=[1, 1, 1]),
        helper.make_node("Squeeze", ["b", "one"], ["y"]),
    ]
    tensors = {"one": np.array([1], np.int64)}
    assert_as_onnx(nodes, tensors)
    nodes[1] = helper.make_node("AveragePool", ["a"], ["b"], kernel_shape=[3, 2, 1], name="n")
    with pytest.raises(UnknownOperation, match="pools over three axes at once, in node 'n'"):
        read(nodes, tensors)
