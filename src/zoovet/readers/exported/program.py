"""Walking through a traced program: constants are computed, what depends on the images is written into a graph."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import INPUT
from zoovet.printable import printable
from zoovet.readers.exported.calls import Call
from zoovet.readers.exported.shapes import filled, repeated
from zoovet.readers.exported.values import NUM_IMAGES, Constant, Unreadable, Variable
from zoovet.readers.exported.vocabulary import READERS
from zoovet.readers.exported.writer import GraphWriter

__all__ = ["FILLED_NAMES", "PLACE", "NeedsFunctional", "UnknownOperation", "read_program"]

_FILLED = {
    "new_zeros": 0.0,
    "zeros_like": 0.0,
    "zeros": 0.0,
    "new_ones": 1.0,
    "ones_like": 1.0,
    "ones": 1.0,
    "new_full": None,
    "full_like": None,
    "full": None,
}
FILLED_NAMES = tuple(_FILLED)
"""Operators that make a tensor of one number."""
_REPEATED = ("expand", "repeat", "expand_as", "broadcast_to")
PLACE = "zoovet_place"
"""Under what a file's call says where it stands, in what ``torch.fx.traceback.annotate`` is given."""


class UnknownOperation(ZoovetError):
    """A network does something that no graph can say; as a module it can still be run.

    Attributes:
        operation: What it is, by torch's name (``aten.cumsum``) or the file's.
        place: Where it stands: the path of the module in the network and the line of code, or the node of a file.
        why: What is the matter with it.
    """

    def __init__(self, operation: str, place: str, why: str, source: str = "") -> None:
        self.operation, self.place, self.why = operation, place, why
        super().__init__(f"{source and f'{source}: '}{operation} {why}{place and f', {place}'}")


class NeedsFunctional(Exception):
    """A tensor is changed in place that others look at; the program must be brought into another form first."""


def read_program(program: ExportedProgram, input_shape: tuple[int, ...], dtype: torch.dtype) -> Networks:
    """The graph and the weights of a program that was traced with ``NUM_IMAGES`` images.

    Args:
        program: As ``torch.export`` made it, with one input.
        input_shape: Of an image.
        dtype: Of the images.

    Returns:
        One network (B = 1).

    Raises:
        UnknownOperation: There is an operation beyond the vocabulary.
        NeedsFunctional: The program changes tensors in place that others look at.
        ZoovetError: The output is no single tensor, or does not depend on the images.
    """
    return _ProgramReader(program, input_shape, dtype).read()


class _ProgramReader:
    def __init__(self, program: ExportedProgram, input_shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._program = program
        self._writer = GraphWriter(input_shape, dtype)
        self._dtype = dtype
        self._values: dict[fx.Node, Any] = {}
        self._storages: dict[int, list[fx.Node]] = {}
        self._last_read = _last_reads(program.graph_module.graph)

    def read(self) -> Networks:
        self._place_inputs()
        for index, node in enumerate(self._program.graph_module.graph.nodes):
            if node.op == "call_function":
                self._values[node] = self._checked(node)
                self._remember(node, index)
            elif node.op == "get_attr":
                self._values[node] = Constant(_attribute(self._program.graph_module, str(node.target)))
        result = self._output()
        if not isinstance(result, Variable):
            raise ZoovetError("the module's output does not depend on its input, so there is no network to read")
        if not result.is_plain:
            raise ZoovetError("the module's output does not have the images along its first axis")
        return self._writer.networks(result.site)

    def _place_inputs(self) -> None:
        nodes = [node for node in self._program.graph_module.graph.nodes if node.op == "placeholder"]
        tensors = {**self._program.state_dict, **self._program.constants}
        for node, graph in zip(nodes, self._program.graph_signature.input_specs, strict=True):
            if graph.kind == InputKind.USER_INPUT:
                value: Any = Variable(INPUT, _shape(node), 0)
            else:
                tensor = tensors[str(graph.target)].detach().clone()
                is_learned = graph.kind == InputKind.PARAMETER
                value = Constant(tensor, str(graph.target), is_learned)
            self._values[node] = value
            self._remember(node, -1)

    def _output(self) -> Any:
        """The one tensor that the program gives, or that it calls logits."""
        *_, last = self._program.graph_module.graph.nodes
        graphs = self._program.graph_signature.output_specs
        outputs = [
            node
            for node, graph in zip(last.args[0], graphs, strict=True)
            if graph.kind == OutputKind.USER_OUTPUT and isinstance(node, fx.Node)
        ]
        if len(outputs) != 1:
            names = getattr(self._program.call_spec.out_spec, "context", None)
            if isinstance(names, list) and "logits" in names:
                return self._values[outputs[names.index("logits")]]
            raise ZoovetError(
                f"the module gives {len(outputs)} tensors; a network gives one. Wrap it in a module that picks it"
            )
        return self._values[outputs[0]]

    def _checked(self, node: fx.Node) -> Any:
        name = str(getattr(node.target, "__name__", node.target))
        try:
            return self._call(node)
        except UnknownOperation:
            raise
        except Unreadable as error:
            raise UnknownOperation(_operator_name(node) or name, _place(node), str(error)) from None
        except ZoovetError as error:
            raise UnknownOperation(_operator_name(node) or name, _place(node), f"does not fit: {error}") from None

    def _call(self, node: fx.Node) -> Any:
        if node.target is operator.getitem:
            given: Any = node.args
            return self._values[given[0]][given[1]]
        name = _operator_name(node)
        if not name:
            raise Unreadable("is not an operator of torch that is known")
        arguments = self._arguments(node)
        self._writer.name = _site_name(node, name)
        call = Call(self._writer, arguments, _shape(node))
        short = name.removeprefix("aten.")
        if short in _FILLED and all(isinstance(size, int) for size in call.shape):
            number = _FILLED[short]
            return filled(call, float(arguments["fill_value"]) if number is None else number, _dtype(node, self._dtype))
        if not any(isinstance(value, Variable) for value in _flat(arguments.values())):
            return self._constant(node, short, call)
        reader = READERS.get(short if short in READERS else short.removesuffix("_"))
        if reader is None or not name.startswith("aten."):
            raise Unreadable("is not in the vocabulary of graphs")
        return reader(call)

    def _arguments(self, node: fx.Node) -> dict[str, Any]:
        """By name, nodes replaced by their values, defaults filled in."""
        operator_called: Any = node.target
        schema = operator_called._schema.arguments
        given = dict(zip((argument.name for argument in schema), node.args, strict=False)) | dict(node.kwargs)
        defaults = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
        return fx.node.map_arg({**defaults, **given}, lambda one: self._values[one])

    def _constant(self, node: fx.Node, name: str, call: Call) -> Any:
        """Compute what depends on no image."""
        inputs = [value for value in _flat(call.arguments.values()) if isinstance(value, Constant)]
        if any(size % NUM_IMAGES == 0 for size in call.shape):
            if name in _REPEATED and inputs:
                return repeated(call, inputs[0])
            raise Unreadable("makes numbers that depend on the number of images")
        is_learned = any(value.is_learned for value in inputs)
        arguments = fx.node.map_aggregate(
            (node.args, node.kwargs),
            lambda one: self._values[one].tensor if isinstance(one, fx.Node) else one,
        )
        compute: Any = node.target
        with torch.no_grad():
            result = compute(*arguments[0], **arguments[1])
        if isinstance(result, Tensor):
            return Constant(result, _unchanged_name(result, inputs), is_learned)
        if isinstance(result, list | tuple):
            return [Constant(one, "", is_learned) for one in result]
        return result

    def _remember(self, node: fx.Node, index: int) -> None:
        """Note which nodes look at the same memory, and what a change in place means for them."""
        traced = node.meta.get("val")
        if not isinstance(traced, Tensor) or not isinstance(self._values[node], Variable):
            return
        others = self._storages.setdefault(traced.untyped_storage()._cdata, [])
        if _changes_its_input(node):
            for other in others:
                seen = other.meta["val"]
                if (seen.shape, seen.stride(), seen.storage_offset()) == (
                    traced.shape,
                    traced.stride(),
                    traced.storage_offset(),
                ):
                    self._values[other] = self._values[node]
                elif self._last_read.get(other, -1) > index:
                    raise NeedsFunctional
        others.append(node)


def _last_reads(graph: fx.Graph) -> dict[fx.Node, int]:
    """Node → place of the last one that reads it."""
    return {source: index for index, node in enumerate(graph.nodes) for source in node.all_input_nodes}


def _changes_its_input(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _operator_name(node: fx.Node) -> str:
    """``aten.conv2d`` of ``aten.conv2d.default``."""
    schema = getattr(node.target, "_schema", None)
    return "" if schema is None else str(schema.name).replace("::", ".")


def _shape(node: fx.Node) -> tuple[int, ...]:
    traced = node.meta.get("val")
    return tuple(traced.shape) if isinstance(traced, Tensor) else ()


def _dtype(node: fx.Node, default: torch.dtype) -> torch.dtype:
    traced = node.meta.get("val")
    return traced.dtype if isinstance(traced, Tensor) else default


def _flat(values: Any) -> list[Any]:
    """Values, those in lists too."""
    return [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]


def _unchanged_name(result: Tensor, inputs: list[Constant]) -> str:
    """The name of the parameter that an operation handed through."""
    for value in inputs:
        if value.name and result.data_ptr() == value.tensor.data_ptr() and result.shape == value.tensor.shape:
            return value.name if result.stride() == value.tensor.stride() else ""
    return ""


def _attribute(module: torch.nn.Module, path: str) -> Tensor:
    value: Any = module
    for part in path.split("."):
        value = getattr(value, part)
    if not isinstance(value, Tensor):
        raise ZoovetError(f"the module holds {type(value).__name__} {printable(path)}, which is no tensor")
    return value


def _stack(node: fx.Node) -> list[tuple[str, str]]:
    """(path, class) of the modules around a node, outermost first."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    return [(path, str(kind)) for path, kind in stack.values()]


def _site_name(node: fx.Node, operation: str) -> str:
    """A layer's path, or the path of the module whose ``forward`` calls the operation, and the operation."""
    short = operation.split(".")[-1].strip("_")
    stack = _stack(node)
    path, kind = stack[-1] if stack else ("", "")
    if path and "torch.nn.modules" in kind and "container" not in kind:
        return path
    return f"{path}.{short}" if path else short


def _place(node: fx.Node) -> str:
    said = (node.meta.get("custom") or {}).get(PLACE)
    if said:
        return str(said)
    stack = _stack(node)
    module = printable(stack[-1][0], 80) if stack else ""
    found = re.findall(r'File "(.*?)", line (\d+)', node.meta.get("stack_trace") or "")
    line = f"{printable(PurePath(found[-1][0]).name, 80)}:{found[-1][1]}" if found else ""
    words = [f"in {module!r}" if module else "", f"at {line}" if line else ""]
    return " ".join(word for word in words if word)
