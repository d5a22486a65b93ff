"""Small ONNX files, made of nodes, and what ONNX' own evaluator computes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zoovet.networks import Networks, run
from zoovet.readers import content_of_bytes

_SHAPE = (4, 7, 6)
_IMAGES = torch.randn(4, *_SHAPE, generator=torch.Generator().manual_seed(0))
"""As many as channels: ONNX' evaluator takes the number of images for that of channels in ``LRN``."""

Arrays = Mapping[str, Any]
Nodes = Sequence[Any]
Wrote = Callable[[Nodes, Arrays, int], bytes]


@pytest.fixture(scope="session")
def written() -> Wrote:
    """Makes a file from ``x`` [4, 4, 7, 6], by slopes of its own to ``h``, and by nodes to ``y``."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper

    def write(nodes: Nodes, tensors: Arrays, opset: int) -> bytes:
        slopes = np.array([0.3, 1.2, 0.5, -0.7], np.float32).reshape(4, 1, 1)
        graph = helper.make_graph(
            [helper.make_node("PRelu", ["x", "slopes"], ["h"]), *nodes],
            "graph",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, _IMAGES.shape)],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
            [onnx.numpy_helper.from_array(one, name) for name, one in {"slopes": slopes, **tensors}.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        data: bytes = model.SerializeToString()
        return data

    return write


@pytest.fixture(scope="session")
def read(written: Wrote) -> Callable[[Nodes, Arrays, int], Networks]:
    """Reads the file of some nodes."""

    def read(nodes: Nodes, tensors: Arrays, opset: int = 18) -> Networks:
        graph = content_of_bytes(written(nodes, tensors, opset), "the ONNX file").graph
        assert graph is not None
        return graph.read(None, None).networks

    return read


@pytest.fixture(scope="session")
def answers(read: Callable[[Nodes, Arrays, int], Networks]) -> Callable[[Nodes, Arrays, int], Tensor]:
    """What the network of some nodes answers."""
    return lambda nodes, tensors, opset=18: run(read(nodes, tensors, opset), _IMAGES)[0]


@pytest.fixture(scope="session")
def assert_as_onnx(written: Wrote, answers: Callable[..., Tensor]) -> Callable[..., None]:
    """Compares that with what ONNX' evaluator computes."""

    def compare(nodes: Nodes, tensors: Arrays, opset: int = 18) -> None:
        from onnx.reference import ReferenceEvaluator

        (wanted,) = ReferenceEvaluator(written(nodes, tensors, opset)).run(None, {"x": _IMAGES.numpy()})
        assert float(np.abs(wanted).max()) > 0
        torch.testing.assert_close(answers(nodes, tensors, opset), torch.from_numpy(wanted), rtol=1e-5, atol=1e-5)

    return compare
