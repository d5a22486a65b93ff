"""What a value of a TorchScript program is, besides tensors, numbers, texts and lists: records, looked up by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["DTYPES", "Function", "Named", "ScriptClass", "ScriptObject", "StopsItself", "Unset", "Weight", "described"]

DTYPES = {
    0: torch.uint8,
    1: torch.int8,
    2: torch.int16,
    3: torch.int32,
    4: torch.int64,
    5: torch.float16,
    6: torch.float32,
    7: torch.float64,
    11: torch.bool,
    15: torch.bfloat16,
}
"""Numbers of dtypes in TorchScript's code."""


class StopsItself(ZoovetError):
    """The program raises an error of its own."""


@dataclass(frozen=True, eq=False)
class Function:
    """A function or method.

    Attributes:
        name: For messages.
        where: The file that it stands in.
        parameters: (name, default as an expression or ``None``), in order.
        body: Statements.
    """

    name: str
    where: str
    parameters: tuple[tuple[str, Any], ...]
    body: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class ScriptClass:
    """A class.

    Attributes:
        name: Its path.
        base: ``Module``, ``NamedTuple``, or what else it is made of.
        parameters: Names of the attributes that are learned.
        fields: Names of all that are declared.
        constants: By name, as expressions.
        methods: By name.
    """

    name: str
    base: str
    parameters: frozenset[str]
    fields: tuple[str, ...]
    constants: Mapping[str, Any]
    methods: Mapping[str, Function]


@dataclass(eq=False)
class ScriptObject:
    """An object of a class: a module.

    Attributes:
        of: The path of its class.
        attributes: By name.
    """

    of: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor of the file, by the name that it is kept under."""

    name: str


@dataclass(frozen=True, eq=False)
class Named:
    """A named tuple."""

    names: tuple[str, ...]
    items: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Unset:
    """What has no value where the program comes by, or none that is known."""

    why: str = "has no value"


def described(value: object) -> str:
    """A value's kind, for messages."""
    kinds: tuple[tuple[Any, str], ...] = (
        (torch.Tensor, "a tensor"),
        (ScriptObject, "a module"),
        (Function | ScriptClass, "a function"),
        (Unset, "nothing"),
        (str, "a text"),
        (type(None), "None"),
        (bool | int | float, "a number"),
        (list | tuple | Named, "a list"),
    )
    words = next((words for kind, words in kinds if isinstance(value, kind)), "something else")
    return printable(words)
