"""An ONNX model as plain values: nodes in order, tensors, the input and the outputs, all checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.values import Constant
from zoovet.readers.loaded import GraphData
from zoovet.readers.onnx.external import ExternalData
from zoovet.readers.onnx.tensors import Numbers, dtype_name
from zoovet.readers.parsing.onnx_file import GRAPH_KINDS
from zoovet.readers.tensors import ways_to_give_a_shape

__all__ = ["Model", "Node", "read_model"]

_OLDEST, _NEWEST = 7, 28
_OWN_DOMAINS = ("", "ai.onnx")
_MAX_NODES = 20_000
_TENSOR = 4
_INPUT_TYPES = ("float", "float16", "bfloat16", "double", "uint8")
_OPEN = -1
"""A size that is left open, as some exporters write it (Paddle2ONNX); others leave it out, name it or write 0."""


@dataclass(frozen=True)
class Node:
    """One operation of a file.

    Attributes:
        op: Its name, with its domain before it where that is not ONNX's own.
        name: Its own; may be empty.
        inputs, outputs: Names of values; ``""`` for what is left out.
        attributes: Name → number, text, tuple of these, or tensor.
        index: Its place in the file, from 0.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    index: int

    @property
    def place(self) -> str:
        """For messages: ``in node 'conv1' (number 3)``."""
        return f"in node '{printable(self.name or ', '.join(self.outputs), 80)}' (number {self.index})"


@dataclass(frozen=True)
class Model:
    """What a file says.

    Attributes:
        opset: Version of ONNX's operations.
        nodes: In an order in which they can run.
        constants: Name → tensor.
        input: The name of the only input.
        input_shape: Its axes; ``None`` where one is left open.
        outputs: Names.
        notes: What a person should know of it.
    """

    opset: int
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    input: str
    input_shape: tuple[int | None, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...]


def read_model(data: GraphData, external: ExternalData, input_shape: tuple[int, ...] | None = None) -> Model:
    """Check what was parsed, and put it in plain values.

    Args:
        data: What the file holds.
        external: Reads its numbers in other files.
        input_shape: Of an image, where the file says no axes of its input.

    Raises:
        ZoovetError: The version is unknown, a name is used twice or missing, there is a cycle, there is not one input,
            or a tensor is not as it has to be.
    """
    described = data.description
    opset = _opset(described["opsets"])
    if len(described["nodes"]) > _MAX_NODES or len(described["tensors"]) > _MAX_NODES:
        raise ZoovetError(f"it has more than {_MAX_NODES} nodes or tensors")
    if not described["nodes"]:
        raise ZoovetError("it has no nodes, so it is no ONNX file of a network, or it is damaged")
    if described["sparse"]:
        raise ZoovetError("it has sparse tensors; weights are dense numbers")
    numbers = Numbers(data, external)
    constants: dict[str, Constant] = {}
    for tensor in described["tensors"]:
        name = tensor["name"]
        if not name or name in constants:
            raise ZoovetError(f"the initializer '{printable(name, 80)}' occurs twice or has no name")
        constants[name] = numbers.read(tensor, name)
    nodes = [_node(one, index, numbers) for index, one in enumerate(described["nodes"])]
    notes = numbers.notes
    name, shape = _input(described["inputs"], constants, notes, input_shape)
    ordered = _in_order(nodes, {name, *constants})
    outputs = tuple(described["outputs"])
    _require_read(constants, nodes, described)
    if not outputs:
        raise ZoovetError("it names no output")
    return Model(opset, ordered, constants, name, shape, outputs, tuple(notes))


def _opset(opsets: Sequence[Sequence[Any]]) -> int:
    versions = [version for domain, version in opsets if domain in _OWN_DOMAINS]
    if len(versions) != 1:
        raise ZoovetError("it does not say its version of ONNX's operations (opset), or is damaged")
    if not _OLDEST <= versions[0] <= _NEWEST:
        raise ZoovetError(
            f"it is of opset {versions[0]}; opsets {_OLDEST} to {_NEWEST} are read "
            "(onnx.version_converter.convert_version changes it)"
        )
    return int(versions[0])


def _node(described: Mapping[str, Any], index: int, numbers: Numbers) -> Node:
    domain, op = described["domain"], described["op"]
    op = op if domain in _OWN_DOMAINS else f"{domain}::{op}"
    outputs = tuple(described["outputs"])
    what = f"'{printable(described['name'] or op, 80)}'"
    if not any(outputs):
        raise ZoovetError(f"node {what} (number {index}) makes nothing")
    attributes: dict[str, Any] = {}
    for one in described["attributes"]:
        name, value = one["name"], one["value"]
        if name in attributes or one["refers"]:
            raise ZoovetError(f"node {what}: the attribute '{printable(name, 80)}' is there twice, or refers elsewhere")
        if one["kind"] == _TENSOR and value is not None:
            value = numbers.read(value, outputs[0])
        attributes[name] = tuple(value) if isinstance(value, list) else value
    return Node(op, described["name"], tuple(described["inputs"]), outputs, attributes, index)


def _input(
    described: Sequence[Mapping[str, Any]],
    constants: Mapping[str, Constant],
    notes: dict[str, None],
    given: tuple[int, ...] | None,
) -> tuple[str, tuple[int | None, ...]]:
    """Name and axes of the only input that is no initializer."""
    inputs = [one for one in described if one["name"] not in constants]
    if len(inputs) != 1:
        names = ", ".join(repr(printable(one["name"], 40)) for one in inputs[:5])
        raise ZoovetError(f"it has {len(inputs)} inputs ({names or 'none'}); a network reads images alone")
    axes, name = inputs[0]["axes"], printable(inputs[0]["name"], 80)
    dtype = dtype_name(inputs[0]["dtype"])
    if dtype not in _INPUT_TYPES:
        raise ZoovetError(f"its input '{name}' is of {dtype}; images are numbers ({', '.join(_INPUT_TYPES)})")
    if dtype != "float":
        notes[f"the file reads {dtype}; its network is read in float32"] = None
    if axes is None and given is None:
        raise ZoovetError(f"its input '{name}' has no shape; give {ways_to_give_a_shape((3, 32, 32))}")
    axes = (None, *(given or ())) if axes is None else axes
    if any(size is not None and size < _OPEN for size in axes):
        raise ZoovetError(f"its input '{name}' has a negative size")
    return inputs[0]["name"], tuple(None if size in (0, _OPEN) else size for size in axes)


def _in_order(nodes: Sequence[Node], known: set[str]) -> tuple[Node, ...]:
    """The nodes in an order in which they can run.

    Raises:
        ZoovetError: Nothing makes what one reads, two make the same, or there is a cycle.
    """
    makers: dict[str, Node] = {}
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in makers or name in known:
                raise ZoovetError(f"'{printable(name, 80)}' is made twice, again {node.place}")
            makers[name] = node
    readers: dict[int, list[Node]] = {}
    waiting: dict[int, int] = {}
    for node in nodes:
        sources = set(filter(None, node.inputs)) - known
        missing = sources - makers.keys()
        if missing:
            raise ZoovetError(
                f"{printable(node.op, 40)} reads '{printable(min(missing), 80)}', which is no input and no "
                f"initializer, and nothing makes it, {node.place}"
            )
        before = {makers[name].index for name in sources}
        waiting[node.index] = len(before)
        for index in before:
            readers.setdefault(index, []).append(node)
    ready = [node for node in nodes if not waiting[node.index]]
    for node in ready:  # grows while it is walked
        for reader in readers.get(node.index, ()):
            waiting[reader.index] -= 1
            if not waiting[reader.index]:
                ready.append(reader)
    if len(ready) < len(nodes):
        stuck = next(node for node in nodes if waiting[node.index])
        raise ZoovetError(f"its nodes form a cycle: {printable(stuck.op, 40)} waits for itself, {stuck.place}")
    return tuple(ready)


def _require_read(constants: Mapping[str, Constant], nodes: Sequence[Node], described: Mapping[str, Any]) -> None:
    """Refuse weights that no node reads; other leftovers change nothing."""
    read = {name for node in nodes for name in node.inputs} | set(described["outputs"])
    has_subgraphs = any(one["kind"] in GRAPH_KINDS for node in described["nodes"] for one in node["attributes"])
    for name, constant in constants.items():
        if name not in read and constant.is_learned and constant.tensor.numel() > 1 and not has_subgraphs:
            raise ZoovetError(
                f"the initializer '{printable(name, 80)}' {list(constant.tensor.shape)} is read by no node: "
                "the file is not whole"
            )
