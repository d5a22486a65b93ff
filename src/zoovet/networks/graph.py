"""Graph: what a network is without its weights, whatever its architecture."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.frozen_mapping import FrozenMapping
from zoovet.networks.graph_text import describe
from zoovet.networks.json_values import check_keys, plain
from zoovet.networks.ops import VOCABULARY, OperationKind, Shape, Site
from zoovet.networks.ops.kinds import flag, integers
from zoovet.networks.scaling import InputScaling
from zoovet.networks.spec import require_input_shape
from zoovet.printable import printable

__all__ = ["INPUT", "Graph", "Operation", "Parameter"]

INPUT = "input"
"""The site that holds the images."""

_MAX_OPERATIONS = 20_000
_MAX_PARAMETERS = 20_000
_MAX_NAME = 512
_MAX_NUMBERS = 2**33


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A named tensor that a graph's operations read.

    Attributes:
        name: Unique in its graph.
        shape: Of one network's.
        is_constant: No weight: a mask, a table, running statistics; what no gradient of a training changes.
    """

    name: str
    shape: Shape
    is_constant: bool = False

    def __post_init__(self) -> None:
        _require_name(self.name, "a parameter's name")
        object.__setattr__(self, "shape", integers(None, 0)(self.shape, f"the shape of '{printable(self.name)}'"))

    @property
    def num_numbers(self) -> int:
        """How many numbers one network has in it."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One step: it reads sites and parameters and makes one site.

    Attributes:
        op: Its name in the vocabulary (:data:`zoovet.networks.ops.VOCABULARY`).
        inputs: The sites that it reads.
        output: The site that it makes.
        parameters: Role (``weight``, ``bias``, …) → name of a parameter.
        attributes: Settings, as ``stride``; those left out have the vocabulary's defaults, and are there afterwards.

    Raises:
        ZoovetError: Operation, role or attribute is unknown (the message names the nearest), or one is missing.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    parameters: Mapping[str, str] = field(default_factory=FrozenMapping)
    attributes: Mapping[str, Any] = field(default_factory=FrozenMapping)

    def __post_init__(self) -> None:
        if self.op not in VOCABULARY:
            raise ZoovetError(f"the operation '{printable(self.op)}' is unknown{_nearest(self.op, VOCABULARY)}")
        _require_name(self.output, "the site that an operation makes")
        try:
            self._set("inputs", tuple(self.inputs))
            self._set("attributes", FrozenMapping(self.kind.checked(self.attributes)))
            self._set("parameters", FrozenMapping(self.parameters))
            self._check_names()
        except ZoovetError as error:
            raise ZoovetError(f"{self.describe()}: {error}") from None

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_names(self) -> None:
        kind, (fewest, most) = self.kind, self.kind.num_inputs
        if not fewest <= len(self.inputs) <= most:
            wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise ZoovetError(f"it reads {wanted} sites, got {len(self.inputs)}")
        for role in self.parameters:
            known = (*kind.roles, *kind.optional_roles)
            if role not in known:
                hint = _nearest(role, known) if known else "; it has none"
                raise ZoovetError(f"the parameter role '{printable(role)}' is unknown{hint}")
        for role in kind.roles:
            if role not in self.parameters:
                raise ZoovetError(f"its {role.replace('_', ' ')} is missing")

    @property
    def kind(self) -> OperationKind:
        """Its entry in the vocabulary."""
        return VOCABULARY[self.op]

    def describe(self) -> str:
        """For messages: ``conv2d 'layer1.0.conv1'``."""
        return f"{self.op} '{printable(self.output, 80)}'"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A network without its weights: immutable, hashable, JSON both ways.

    Graphs are equal where their operations, names and shapes are, whatever is known of their input scaling.

    Attributes:
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``; the site ``input``.
        parameters: Named tensors; each is read by an operation.
        operations: In an order in which they can run. Each makes a site that those behind it may read.
        output: The site that holds what the network answers.
        input_scaling: What numbers it reads for the pixels of an image; ``None`` where that is not known, or it reads
            no pixels.

    Raises:
        ZoovetError: A site is read that is not made or made only later, a parameter is missing or unread, names occur
            twice, or shapes do not fit; the message names the operation and both sizes.
    """

    input_shape: Shape
    parameters: tuple[Parameter, ...]
    operations: tuple[Operation, ...]
    output: str
    input_scaling: InputScaling | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("input_shape", "parameters", "operations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require_input_shape(self.input_shape)
        if len(self.operations) > _MAX_OPERATIONS or len(self.parameters) > _MAX_PARAMETERS:
            raise ZoovetError(
                f"a graph has at most {_MAX_OPERATIONS} operations and {_MAX_PARAMETERS} parameters, got "
                f"{len(self.operations)} and {len(self.parameters)}"
            )
        if self.input_scaling is not None and len(self.input_shape) == 3:
            self.input_scaling.require_channels(self.input_shape[0])
        if len(self.shapes) < len(self.parameters):
            raise ZoovetError(f"the parameter {_repeated([one.name for one in self.parameters])} occurs twice")
        read = {name for operation in self.operations for name in operation.parameters.values()}
        for parameter in self.parameters:
            if parameter.name not in read:
                raise ZoovetError(f"the parameter '{printable(parameter.name)}' is read by no operation")
        if self.output not in self.sites:
            raise ZoovetError(f"the output '{printable(self.output)}' is no site{_nearest(self.output, self.sites)}")

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Name of a parameter → its shape, in the order of ``parameters``."""
        return MappingProxyType({parameter.name: parameter.shape for parameter in self.parameters})

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """Name of a site → what it holds; ``input`` first, then in the order of the operations."""
        sites = {INPUT: Site(self.input_shape, 0)}
        for index, operation in enumerate(self.operations):
            where = f"operation {index} ({operation.describe()})"
            for name in operation.inputs:
                if name not in sites:
                    raise ZoovetError(f"{where} {self._why_unmade(name, index, sites)}")
            for role, parameter in operation.parameters.items():
                if parameter not in self.shapes:
                    raise ZoovetError(
                        f"{where}: its {role.replace('_', ' ')} '{printable(parameter)}' is not among the parameters"
                        f"{_nearest(parameter, self.shapes)}"
                    )
            if operation.output in sites:
                raise ZoovetError(f"{where} makes a site that is there already; names of sites must differ")
            shapes = {role: self.shapes[name] for role, name in operation.parameters.items()}
            try:
                site = operation.kind.infer(operation.attributes, [sites[name] for name in operation.inputs], shapes)
            except ZoovetError as error:
                raise ZoovetError(f"{where}: {error}") from None
            if not 0 < site.num_numbers <= _MAX_NUMBERS:
                raise ZoovetError(f"{where} would make {list(site.shape)}: {site.num_numbers} numbers an image")
            sites[operation.output] = site
        return MappingProxyType(sites)

    def _why_unmade(self, name: str, index: int, sites: Mapping[str, Site]) -> str:
        for later, operation in enumerate(self.operations[index:], start=index):
            if operation.output == name:
                return (
                    f"reads '{printable(name)}', which operation {later} makes only then: operations must stand in the "
                    "order in which they run, without cycles"
                )
        return f"reads '{printable(name)}', which nothing makes{_nearest(name, sites)}"

    @cached_property
    def makers(self) -> Mapping[str, Operation]:
        """Name of a site → the operation that makes it; not for ``input``."""
        return MappingProxyType({operation.output: operation for operation in self.operations})

    @cached_property
    def readers(self) -> Mapping[str, tuple[Operation, ...]]:
        """Name of a site → the operations that read it, in order; once for each time where one reads it twice."""
        readers: dict[str, list[Operation]] = {name: [] for name in self.sites}
        for operation in self.operations:
            for name in operation.inputs:
                readers[name].append(operation)
        return MappingProxyType({name: tuple(found) for name, found in readers.items()})

    @cached_property
    def plans(self) -> dict[tuple[str, ...], Any]:
        """What the interpreter worked out for wanted sites, kept with the graph that it follows from."""
        return {}

    @cached_property
    def num_parameters(self) -> int:
        """Numbers in one network, constants included: length of its flat vector."""
        return sum(parameter.num_numbers for parameter in self.parameters)

    @property
    def output_shape(self) -> Shape:
        """Shape of what the network answers for one image: ``(classes,)``."""
        return self.sites[self.output].shape

    @property
    def answers(self) -> Literal["logits", "probabilities", "log_probabilities"]:
        """What the output holds, by the operation that makes it: a softmax at the end makes probabilities."""
        maker = self.makers.get(self.output)
        if maker is not None and maker.op == "softmax":
            return "probabilities"
        return "log_probabilities" if maker is not None and maker.op == "log_softmax" else "logits"

    @cached_property
    def graph_id(self) -> str:
        """A short name that differs where graphs differ, names of sites and parameters aside.

        12 hexadecimal digits of a SHA-256. What is known of the input scaling does not count.
        """
        sites = {name: number for number, name in enumerate(self.sites)}
        parameters: dict[str, int] = {}
        steps = []
        for operation in self.operations:
            read = {role: parameters.setdefault(name, len(parameters)) for role, name in operation.parameters.items()}
            steps.append([operation.op, [sites[name] for name in operation.inputs], read, dict(operation.attributes)])
        constant = {parameter.name: parameter.is_constant for parameter in self.parameters}
        shapes = [[self.shapes[name], constant[name]] for name in parameters]
        content = [self.input_shape, steps, shapes, sites[self.output]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def _hash(self) -> int:
        return hash((self.input_shape, self.parameters, self.operations, self.output))

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the fields, not what was computed from them."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def describe(self) -> str:
        """For people: one line where the operations follow one another and are few, else a table, a line each."""
        return describe(self)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON values that :meth:`from_json` reads."""
        return {
            "input_shape": list(self.input_shape),
            "input_scaling": None if self.input_scaling is None else self.input_scaling.to_json(),
            "parameters": [
                {"name": one.name, "shape": list(one.shape), "is_constant": one.is_constant} for one in self.parameters
            ],
            "operations": [
                {
                    "op": one.op,
                    "inputs": list(one.inputs),
                    "output": one.output,
                    "parameters": dict(one.parameters),
                    "attributes": {name: plain(value) for name, value in one.attributes.items()},
                }
                for one in self.operations
            ],
            "output": self.output,
        }

    @classmethod
    def from_json(cls, data: Any) -> Graph:
        """Read what :meth:`to_json` wrote, or somebody else did.

        Raises:
            ZoovetError: A key is missing or unknown, a value has the wrong type or is out of bounds, or the operations
                do not fit one another.
        """
        names = ("input_shape", "parameters", "operations", "output")
        check_keys(data, (*names, "input_scaling"), names, "a graph")
        for name, most in (("parameters", _MAX_PARAMETERS), ("operations", _MAX_OPERATIONS)):
            if not isinstance(data[name], list) or len(data[name]) > most:
                raise ZoovetError(f"a graph's {name!r} must be a list of at most {most}")
        _require_name(data["output"], "a graph's 'output'")
        scaling = data.get("input_scaling")
        return cls(
            input_shape=integers(None, 1)(data["input_shape"], "a graph's 'input_shape'"),
            parameters=tuple(_parameter(one, f"parameters[{index}]") for index, one in enumerate(data["parameters"])),
            operations=tuple(_operation(one, f"operations[{index}]") for index, one in enumerate(data["operations"])),
            output=data["output"],
            input_scaling=None if scaling is None else InputScaling.from_json(scaling),
        )


def _parameter(data: Any, where: str) -> Parameter:
    check_keys(data, ("name", "shape", "is_constant"), ("name", "shape"), where)
    is_constant = flag(data.get("is_constant", False), f"{where}.is_constant")
    return Parameter(name=data["name"], shape=data["shape"], is_constant=is_constant)


def _operation(data: Any, where: str) -> Operation:
    required = ("op", "inputs", "output")
    check_keys(data, (*required, "parameters", "attributes"), required, where)
    parameters, attributes = data.get("parameters", {}), data.get("attributes", {})
    _require_name(data["op"], f"{where}.op")
    if not isinstance(data["inputs"], list) or not isinstance(parameters, dict) or not isinstance(attributes, dict):
        raise ZoovetError(f"{where} must have a list of inputs, and objects of parameters and attributes")
    for name in (*data["inputs"], *parameters.values()):
        _require_name(name, f"a name in {where}")
    try:
        return Operation(
            op=data["op"],
            inputs=tuple(data["inputs"]),
            output=data["output"],
            parameters=parameters,
            attributes=attributes,
        )
    except ZoovetError as error:
        raise ZoovetError(f"{where}: {error}") from None


def _require_name(name: Any, what: str) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise ZoovetError(f"{what} must be a text of 1 to {_MAX_NAME} characters, got {printable(repr(name))}")


def _nearest(name: Any, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The nearest known name, where there is one: lists of them can be long."""
    hint = nearest(str(name)[:_MAX_NAME], known)
    return printable(hint) if "did you mean" in hint or len(hint) < 400 else ""


def _repeated(names: Sequence[str]) -> str:
    return repr(printable(next(name for name, count in Counter(names).items() if count > 1)))
