"""The calls of a program in the JSON of ``torch.export``, checked: known operators, plain arguments."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.exported.replayed import KNOWN_OPERATORS, MAX_CALLS
from zoovet.readers.outputs import chosen_output

__all__ = ["ArchivedCall", "ArchivedProgram", "calls_of"]

_ARITHMETIC = frozenset(("add", "sub", "mul", "floordiv", "mod", "getitem", "neg", "eq", "ne", "lt", "le", "gt", "ge"))
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_strings")
_IGNORED = ("as_layout", "as_memory_format")
_NUMBERS = ("as_sym_int", "as_sym_float", "as_sym_bool")
_LISTS = ("as_sym_ints", "as_sym_floats", "as_sym_bools")
_INPUT_KINDS = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}


@dataclass(frozen=True)
class ArchivedCall:
    """A call.

    Attributes:
        namespace: ``aten`` or ``_operator``.
        written: The operator's name.
        overload: Which of its forms.
        inputs: (keyword or ``None``, argument as the file has it), in order.
        outputs: Names of what it makes.
        sizes: Of its only output, where they are fixed.
        place: For messages.
    """

    namespace: str
    written: str
    overload: str
    inputs: tuple[tuple[str | None, Mapping[str, Any]], ...]
    outputs: tuple[str, ...]
    sizes: tuple[int, ...] | None
    place: str

    @property
    def short(self) -> str:
        """The operator's name without a sign that it changes its input."""
        is_whole = self.written in KNOWN_OPERATORS or self.namespace != "aten"
        return self.written if is_whole else self.written.removesuffix("_")

    @property
    def name(self) -> str:
        """For messages: ``aten.conv2d``."""
        return f"{self.namespace}.{printable(self.written, 60)}"

    def arguments(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """What it is given, from the values so far."""
        args, keywords = list[Any](), dict[str, Any]()
        for keyword, described in self.inputs:
            value = _argument(described, values, self)
            if keyword is None:
                args.append(value)
            elif value is not _LEFT_OUT:
                keywords[keyword] = value
        return args, keywords


@dataclass(frozen=True, kw_only=True)
class ArchivedProgram:
    """A program.

    Attributes:
        calls: In order.
        inputs: Name of a value → its kind (``parameter``, ``buffer``, ``tensor_constant``, ``images``) and the tensor's
            name.
        output: Name of the value that it answers.
        input_sizes: Of the images; ``None`` where one is open.
        batch: The number of images where it is fixed.
    """

    calls: tuple[ArchivedCall, ...]
    inputs: Mapping[str, tuple[str, str]]
    output: str
    input_sizes: tuple[int | None, ...]
    batch: int | None


_LEFT_OUT = object()


def calls_of(program: Mapping[str, Any], output: int | None = None) -> ArchivedProgram:
    """A program from its JSON.

    Args:
        program: As torch.export wrote it.
        output: Which of several outputs, from 0.

    Raises:
        UnknownOperation: It calls what is not known.
        ZoovetError: It has several inputs, or it is not clear which output is to be read.
    """
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    if len(graph["nodes"]) > MAX_CALLS:
        raise ZoovetError(f"it has more than {MAX_CALLS:,} operations")
    inputs = dict(map(_input, signature["input_specs"]))
    images = [name for name, (kind, _) in inputs.items() if kind == "images"]
    outputs = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
    if len(images) != 1 or not outputs:
        raise ZoovetError(
            f"its inputs are {len(images)}, its outputs {len(outputs)}; a network reads one and gives some"
        )
    chosen = outputs[chosen_output(len(outputs), output)]
    if "as_tensor" not in chosen:
        raise ZoovetError("its output is no tensor")
    sizes = {name: _sizes(meta) for name, meta in graph["tensor_values"].items()}
    shape = sizes[images[0]]
    if not shape:
        raise ZoovetError("its input has no axes")
    calls = tuple(_call(node, sizes) for node in graph["nodes"])
    answer = str(chosen["as_tensor"]["name"])
    return ArchivedProgram(calls=calls, inputs=inputs, output=answer, input_sizes=shape, batch=shape[0])


def _input(spec: Mapping[str, Any]) -> tuple[str, tuple[str, str]]:
    for kind, key in _INPUT_KINDS.items():
        if kind in spec:
            return str(spec[kind]["arg"]["name"]), (kind, str(spec[kind][key]))
    if "user_input" in spec and "as_tensor" in spec["user_input"]["arg"]:
        return str(spec["user_input"]["arg"]["as_tensor"]["name"]), ("images", "")
    raise ZoovetError("it has an input that is neither an image nor a weight")


def _sizes(meta: Mapping[str, Any]) -> tuple[int | None, ...]:
    return tuple(int(size["as_int"]) if "as_int" in size else None for size in meta["sizes"])


def _call(node: Mapping[str, Any], sizes: Mapping[str, tuple[int | None, ...]]) -> ArchivedCall:
    target = str(node["target"])
    outputs = tuple(_outputs(node["outputs"]))
    place = f"in node '{printable(node.get('name') or ', '.join(outputs), 80)}'"
    namespace, written, overload = _operator(target, place)
    schema = None if namespace == "_operator" else getattr(getattr(torch.ops.aten, written), overload)._schema
    inputs = []
    for one in node["inputs"]:
        is_keyword = schema is not None and any(
            argument.name == one["name"] and argument.kwarg_only for argument in schema.arguments
        )
        inputs.append((str(one["name"]) if is_keyword or one.get("kind") == 2 else None, one["arg"]))
    own = sizes.get(outputs[0], ()) if len(outputs) == 1 else ()
    fixed = tuple(size for size in own if size is not None)
    return ArchivedCall(
        namespace, written, overload, tuple(inputs), outputs, fixed if len(fixed) == len(own) else None, place
    )


def _operator(target: str, place: str) -> tuple[str, str, str]:
    """(namespace, name, overload) of a known operator."""
    parts = target.split(".")
    if len(parts) == 2 and parts[0] == "_operator" and parts[1] in _ARITHMETIC and hasattr(operator, parts[1]):
        return "_operator", parts[1], ""
    if len(parts) == 5 and parts[:3] == ["torch", "ops", "aten"]:
        written, overload = parts[3:]
        packet = getattr(torch.ops.aten, written, None) if written.isidentifier() else None
        is_known = written in KNOWN_OPERATORS or written.removesuffix("_") in KNOWN_OPERATORS
        if is_known and packet is not None and overload in packet.overloads():
            return "aten", written, overload
    name = printable(target.removeprefix("torch.ops."), 80)
    raise UnknownOperation(name, place, "is not in the vocabulary of graphs")


def _outputs(described: list[Mapping[str, Any]]) -> list[str]:
    names: list[str] = []
    for one in described:
        if "as_tensor" in one:
            names.append(str(one["as_tensor"]["name"]))
        elif "as_tensors" in one:
            names += [str(tensor["name"]) for tensor in one["as_tensors"]]
        elif any(kind in one for kind in _NUMBERS):
            (value,) = one.values()
            names.append(str(value["as_name"]))
        else:
            names.append("")
    return names


def _argument(described: Mapping[str, Any], values: Mapping[str, Any], call: ArchivedCall) -> Any:
    ((kind, value),) = described.items()
    if kind in _PLAIN:
        return value
    if kind == "as_none":
        return None
    if kind in _IGNORED:
        return _LEFT_OUT
    if kind == "as_device":
        return torch.device("cpu")
    if kind == "as_scalar_type" and value in _DTYPES:
        return _DTYPES[value]
    if kind == "as_tensor":
        return values[value["name"]]
    if kind == "as_tensors":
        return [values[one["name"]] for one in value]
    if kind in ("as_optional_tensor", "as_optional_tensors"):
        found = [None if "as_none" in one else values[one["as_tensor"]["name"]] for one in _listed(value)]
        return found if isinstance(value, list) else found[0]
    if kind in _NUMBERS or kind in _LISTS:
        found = [values[one["as_name"]] if "as_name" in one else next(iter(one.values())) for one in _listed(value)]
        return found if kind in _LISTS else found[0]
    raise UnknownOperation(call.name, call.place, f"has an argument of the kind {printable(kind, 40)}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
