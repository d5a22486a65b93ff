"""An ONNX model as plain values: nodes in order, tensors, the input and the outputs, all checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.values import Constant
from zoovet.readers.onnx.external import ExternalData
from zoovet.readers.onnx.tensors import dtype_name, read_tensor, text

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

__all__ = ["Model", "Node", "read_model"]

_OLDEST, _NEWEST = 9, 28
_OWN_DOMAINS = ("", "ai.onnx")
_MAX_NODES = 20_000
_MAX_ELEMENTS = 4096
_INPUT_TYPES = ("float", "float16", "bfloat16", "double", "uint8")


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


def read_model(proto: ModelProto, external: ExternalData) -> Model:
    """Check what protobuf parsed, and put it in plain values.

    Raises:
        ZoovetError: The version is unknown, a name is used twice or missing, there is a cycle, there is not one input,
            or a tensor is not as it has to be.
    """
    opset, graph = _opset(proto), proto.graph
    if len(graph.node) > _MAX_NODES or len(graph.initializer) > _MAX_NODES:
        raise ZoovetError(f"it has more than {_MAX_NODES} nodes or tensors")
    if not graph.node:
        raise ZoovetError("it has no nodes, so it is no ONNX file of a network, or it is damaged")
    if graph.sparse_initializer:
        raise ZoovetError("it has sparse tensors; weights are dense numbers")
    notes: dict[str, None] = {}
    constants: dict[str, Constant] = {}
    for tensor in graph.initializer:
        name = text(tensor.name)
        if not name or name in constants:
            raise ZoovetError(f"the initializer '{printable(name, 80)}' occurs twice or has no name")
        constants[name] = read_tensor(tensor, name, external, notes)
    nodes = [_node(one, index, external, notes) for index, one in enumerate(graph.node)]
    name, shape = _input(graph, constants, notes)
    ordered = _in_order(nodes, {name, *constants})
    _require_read(constants, nodes, graph)
    outputs = tuple(text(one.name) for one in graph.output)
    if not outputs:
        raise ZoovetError("it names no output")
    return Model(opset, ordered, constants, name, shape, outputs, tuple(notes))


def _opset(proto: ModelProto) -> int:
    versions = [one.version for one in proto.opset_import if one.domain in _OWN_DOMAINS]
    if len(versions) != 1:
        raise ZoovetError("it does not say its version of ONNX's operations (opset), or is damaged")
    if not _OLDEST <= versions[0] <= _NEWEST:
        raise ZoovetError(
            f"it is of opset {versions[0]}; opsets {_OLDEST} to {_NEWEST} are read "
            "(onnx.version_converter.convert_version changes it)"
        )
    return int(versions[0])


def _node(proto: NodeProto, index: int, external: ExternalData, notes: dict[str, None]) -> Node:
    op = text(proto.op_type) if proto.domain in _OWN_DOMAINS else f"{text(proto.domain)}::{text(proto.op_type)}"
    inputs, outputs = (tuple(map(text, names)) for names in (proto.input, proto.output))
    what = f"'{printable(text(proto.name) or op, 80)}'"
    if not any(outputs):
        raise ZoovetError(f"node {what} (number {index}) makes nothing")
    attributes: dict[str, Any] = {}
    for one in proto.attribute:
        if text(one.name) in attributes or one.ref_attr_name:
            shown = printable(one.name, 80)
            raise ZoovetError(f"node {what}: the attribute '{shown}' is there twice, or refers elsewhere")
        attributes[one.name] = _attribute(one, outputs[0], external, notes)
    return Node(op, proto.name, inputs, outputs, attributes, index)


def _attribute(proto: AttributeProto, name: str, external: ExternalData, notes: dict[str, None]) -> Any:
    """A plain value; ``None`` for graphs, which only operations have that are not read."""
    kinds = proto.AttributeType
    match proto.type:
        case kinds.FLOAT:
            return float(proto.f)
        case kinds.INT:
            return int(proto.i)
        case kinds.STRING:
            return proto.s.decode("utf-8", "replace")
        case kinds.TENSOR:
            return read_tensor(proto.t, name, external, notes)
        case kinds.FLOATS:
            return _bounded(proto.floats, proto.name)
        case kinds.INTS:
            return _bounded(proto.ints, proto.name)
        case kinds.STRINGS:
            return tuple(one.decode("utf-8", "replace") for one in _bounded(proto.strings, proto.name))
        case _:
            return None


def _bounded(values: Sequence[Any], name: str) -> tuple[Any, ...]:
    if len(values) > _MAX_ELEMENTS:
        raise ZoovetError(f"the attribute '{printable(name, 80)}' has more than {_MAX_ELEMENTS} values")
    return tuple(values)


def _input(
    graph: GraphProto, constants: Mapping[str, Constant], notes: dict[str, None]
) -> tuple[str, tuple[int | None, ...]]:
    """Name and axes of the only input that is no initializer."""
    inputs = [one for one in graph.input if text(one.name) not in constants]
    if len(inputs) != 1:
        names = ", ".join(repr(printable(one.name, 40)) for one in inputs[:5])
        raise ZoovetError(f"it has {len(inputs)} inputs ({names or 'none'}); a network reads images alone")
    kind = inputs[0].type.tensor_type
    name = printable(inputs[0].name, 80)
    dtype = dtype_name(kind.elem_type)
    if dtype not in _INPUT_TYPES:
        raise ZoovetError(f"its input '{name}' is of {dtype}; images are numbers ({', '.join(_INPUT_TYPES)})")
    if dtype != "float":
        notes[f"the file reads {dtype}; its network is read in float32"] = None
    if not kind.HasField("shape"):
        raise ZoovetError(f"its input '{name}' has no shape; export it with one")
    sizes = tuple(int(axis.dim_value) if axis.HasField("dim_value") else None for axis in kind.shape.dim)
    if any(size is not None and size < 0 for size in sizes):
        raise ZoovetError(f"its input '{name}' has a negative size")
    return inputs[0].name, tuple(size or None for size in sizes)


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


def _require_read(constants: Mapping[str, Constant], nodes: Sequence[Node], graph: GraphProto) -> None:
    """Refuse weights that no node reads; other leftovers change nothing."""
    read = {name for node in nodes for name in node.inputs} | {one.name for one in graph.output}
    has_subgraphs = any(one.type in (one.GRAPH, one.GRAPHS) for node in graph.node for one in node.attribute)
    for name, constant in constants.items():
        if name not in read and constant.is_learned and constant.tensor.numel() > 1 and not has_subgraphs:
            raise ZoovetError(
                f"the initializer '{printable(name, 80)}' {list(constant.tensor.shape)} is read by no node: "
                "the file is not whole"
            )
