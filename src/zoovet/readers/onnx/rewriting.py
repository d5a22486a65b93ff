"""Other numbers for the layers of an ONNX file: which tensor is which layer's is told by its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoovet.networks.batch import Networks
from zoovet.printable import printable
from zoovet.readers.loaded import GraphData, StoredTensor
from zoovet.readers.onnx.tensors import dtype_name
from zoovet.readers.rewriting import LayoutError, NewNumbers

__all__ = ["changed_onnx"]

_DTYPES = {
    "float": torch.float32,
    "double": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
_ADDS = ("Add", "Sum")


def changed_onnx(data: GraphData, before: Networks, after: Networks, source: str) -> list[NewNumbers]:
    """What the tensors of an ONNX file become when its network is changed.

    Args:
        data: What the file holds.
        before: The network that was read from it (B = 1).
        after: The same after an edit.
        source: The file, for messages.

    Raises:
        LayoutError: A layer's numbers do not stand in the file as they are (a batch norm was folded into them), or it
            has no bias there and needs one now.
    """
    places = {one["name"]: _stored(data, one) for one in data.description["tensors"]}
    stored = {name: place for name, place in places.items() if place is not None}
    changed: dict[str, NewNumbers] = {}
    layers = zip(before.weights, before.biases, after.weights, after.biases, strict=True)
    for index, (weight, bias, new_weight, new_bias) in enumerate(layers):
        found = [(name, turned) for name in stored for turned in (False, True) if _is(stored[name], weight, turned)]
        if not found:
            raise LayoutError(
                f"{source}: the weight of layer {index} does not stand in it as it is computed with (a batch norm was "
                "folded into it), so that its layout cannot be kept"
            )
        name, turned = found[0]
        if len({one for one, _ in found}) > 1 or name in changed:
            raise LayoutError(f"{source}: the weight of layer {index} may be one tensor or another, which are equal")
        changed[name] = NewNumbers.of(stored[name], _shaped(new_weight, stored[name], turned), source)
        names = [one for one in _added_to(data.description["nodes"], name) if one in stored and one not in changed]
        own = next((one for one in names if _is(stored[one], bias)), None)
        if own is not None:
            changed[own] = NewNumbers.of(stored[own], _shaped(new_bias, stored[own]), source)
        elif bool(new_bias.any()):
            raise LayoutError(
                f"{source}: layer {index} ('{printable(name, 60)}') has no bias of its own there, and the repair needs "
                "one"
            )
    return list(changed.values())


def _stored(data: GraphData, described: Mapping[str, Any]) -> StoredTensor | None:
    """Where a tensor's numbers lie in the file one by one; ``None`` where they do not, or are none of a layer's."""
    dtype, place = _DTYPES.get(dtype_name(described["dtype"])), described["raw"]
    if dtype is None or place is None or described["external"] is not None or place[2] == 0:
        return None
    _, start, size = place
    numbers = torch.frombuffer(bytearray(memoryview(data.file)[start : start + size]), dtype=dtype)
    return StoredTensor(tensor=numbers.reshape(described["dims"]), start=start, swap=False)


def _is(stored: StoredTensor, numbers: Tensor, turned: bool = False) -> bool:
    """Whether a tensor of the file holds just these numbers, or where ``turned`` its transpose does."""
    own = stored.tensor
    if own.numel() != numbers.numel() or (turned and (own.ndim != 2 or 1 in own.shape)):
        return False
    flat = (own.T if turned else own).reshape(-1)
    return torch.equal(flat.to(numbers.dtype), numbers.reshape(-1))


def _shaped(numbers: Tensor, stored: StoredTensor, turned: bool = False) -> Tensor:
    shape = stored.tensor.shape
    return numbers.reshape(shape[::-1]).T if turned else numbers.reshape(shape)


def _added_to(nodes: Sequence[Mapping[str, Any]], weight: str) -> list[str]:
    """Names of what is added to what a layer multiplies its inputs with: its bias, where it has one."""
    names: list[str] = []
    for node in nodes:
        if weight in node["inputs"]:
            names += node["inputs"][2:3]
            added = [one for one in nodes if one["op"] in _ADDS and node["outputs"][0] in one["inputs"]]
            names += [name for one in added for name in one["inputs"] if name != node["outputs"][0]]
    return names
