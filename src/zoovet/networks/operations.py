"""What a graph is made of: named parameters, and operations that read sites and parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.frozen_mapping import FrozenMapping
from zoovet.networks.json_values import check_keys
from zoovet.networks.ops import VOCABULARY, OperationKind, Shape
from zoovet.networks.ops.kinds import flag, integers
from zoovet.printable import printable

__all__ = [
    "INPUT",
    "Operation",
    "Parameter",
    "nearest_in_words",
    "operation_from_json",
    "parameter_from_json",
    "require_name",
]

INPUT = "input"
"""The site that holds the images."""

MAX_NAME = 512
"""Characters in a name."""


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
        require_name(self.name, "a parameter's name")
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
            raise ZoovetError(f"the operation '{printable(self.op)}' is unknown{nearest_in_words(self.op, VOCABULARY)}")
        require_name(self.output, "the site that an operation makes")
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
                hint = nearest_in_words(role, known) if known else "; it has none"
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


def parameter_from_json(data: Any, where: str) -> Parameter:
    """A parameter from JSON; ``where`` is for messages."""
    check_keys(data, ("name", "shape", "is_constant"), ("name", "shape"), where)
    is_constant = flag(data.get("is_constant", False), f"{where}.is_constant")
    return Parameter(name=data["name"], shape=data["shape"], is_constant=is_constant)


def operation_from_json(data: Any, where: str) -> Operation:
    """An operation from JSON; ``where`` is for messages."""
    required = ("op", "inputs", "output")
    check_keys(data, (*required, "parameters", "attributes"), required, where)
    parameters, attributes = data.get("parameters", {}), data.get("attributes", {})
    require_name(data["op"], f"{where}.op")
    if not isinstance(data["inputs"], list) or not isinstance(parameters, dict) or not isinstance(attributes, dict):
        raise ZoovetError(f"{where} must have a list of inputs, and objects of parameters and attributes")
    for name in (*data["inputs"], *parameters.values()):
        require_name(name, f"a name in {where}")
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


def require_name(name: Any, what: str) -> None:
    """Raise where this is no text, an empty one, or too long."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise ZoovetError(f"{what} must be a text of 1 to {MAX_NAME} characters, got {printable(repr(name))}")


def nearest_in_words(name: Any, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The nearest known name, where there is one: lists of them can be long."""
    hint = nearest(str(name)[:MAX_NAME], known)
    return printable(hint) if "did you mean" in hint or len(hint) < 400 else ""
