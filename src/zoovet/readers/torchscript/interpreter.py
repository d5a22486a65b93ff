"""Running a TorchScript program's code: a small closed subset of Python, within bounds, on tensors that are traced.

Nothing of Python's own is reached from the code: names are looked up among its variables, its own functions and a list
of operators; attributes among an object's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.fx.traceback import annotate

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.file_errors import MALFORMED
from zoovet.readers.exported.program import PLACE, UnknownOperation
from zoovet.readers.parsing.kinds import said_in_parentheses
from zoovet.readers.torchscript.operators import Operators
from zoovet.readers.torchscript.plain_values import bounded
from zoovet.readers.torchscript.program import Program
from zoovet.readers.torchscript.values import (
    Function,
    Named,
    ScriptClass,
    ScriptObject,
    StopsItself,
    Unset,
    Weight,
    described,
)

__all__ = ["Interpreter"]

_MAX_STEPS = 500_000
_MAX_DEPTH = 60
_ROOTS = frozenset(("torch", "ops", "__torch__"))
_NUMBERS = {"inf": float("inf"), "nan": float("nan")}
_CASTS = {"int": "Int", "float": "Float", "bool": "Bool", "str": "str"}
_GOES_ON = object()
"""What a block gives that does not return."""


class Interpreter:
    """Runs a program once.

    Args:
        program: What the file holds.
        weight: A weight's tensor by its name.
        operators: What it may call.
    """

    def __init__(self, program: Program, weight: Callable[[str], Any], operators: Operators) -> None:
        self._program, self._weight, self._operators = program, weight, operators
        self._steps = 0
        self._stack: list[_Frame] = []
        self._attributes: dict[tuple[int, str], Any] = {}

    def run(self, images: Any) -> Any:
        """What ``forward`` answers for images.

        Raises:
            UnknownOperation: It does what cannot be read.
            ZoovetError: It raises an error of its own, or has no ``forward`` of images alone.
        """
        root = self._program.root
        of = self._program.class_of(root)
        forward = None if of is None else of.methods.get("forward")
        if forward is None:
            raise ZoovetError("its module has no forward, so there is no network to read; save the module itself")
        needed = [name for name, default in forward.parameters[2:] if default is None]
        if len(forward.parameters) < 2 or needed:
            count = len(needed) + min(len(forward.parameters) - 1, 1)
            raise ZoovetError(f"its forward takes {count} inputs; a network reads one, images")
        try:
            return self._called(forward, [root, images], {})
        except StopsItself as error:
            raise ZoovetError(
                f"its own code refuses its input: '{error}', {self.place}; give images of the size that it was made "
                "for (--images or --input-shape)"
            ) from None

    @property
    def place(self) -> str:
        """Where the program is."""
        frame = self._stack[-1] if self._stack else None
        return f"at {frame.function.where}:{frame.line}" if frame else ""

    # Calls ---------------------------------------------------------------------------------------------------------

    def _called(self, function: Function, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        if len(self._stack) >= _MAX_DEPTH:
            raise self._unknown(function.name, f"is called {_MAX_DEPTH} calls deep, deeper than networks go")
        names = [name for name, _ in function.parameters]
        if len(args) > len(names) or not set(keywords) <= set(names[len(args) :]):
            raise self._unknown(function.name, "is given other arguments than it takes")
        frame = _Frame(function, dict(zip(names, args, strict=False)) | dict(keywords))
        self._stack.append(frame)
        for name, default in function.parameters:
            if name not in frame.variables:
                frame.variables[name] = self._value(default) if default is not None else Unset("was not given")
        result = self._block(function.body)
        self._stack.pop()
        return None if result is _GOES_ON else result

    def _unknown(self, name: str, why: str) -> UnknownOperation:
        return UnknownOperation(printable(name, 80), self.place, why)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise self._unknown("the code", f"takes more than {_MAX_STEPS:,} steps, as loops do that do not end,")

    # Statements ----------------------------------------------------------------------------------------------------

    def _block(self, statements: Sequence[Any]) -> Any:
        for statement in statements:
            result = self._statement(statement)
            if result is not _GOES_ON:
                return result
        return _GOES_ON

    def _statement(self, statement: Sequence[Any]) -> Any:
        self._step()
        kind, line, *parts = statement
        frame = self._stack[-1]
        frame.line = line
        match kind:
            case "assign":
                self._assign(parts[0], self._evaluated(parts[1]))
            case "expression":
                self._evaluated(parts[0])
            case "return":
                return self._evaluated(parts[0])
            case "if":
                return self._block(parts[1] if self._decided(parts[0]) else parts[2])
            case "while":
                while self._decided(parts[0]):
                    result = self._turn(parts[1], line)
                    if result is not _GOES_ON:
                        return result
            case "for":
                return self._loop(*parts, line=line)
            case "raise":
                raise StopsItself("an error")
            case _:
                raise self._unknown(str(parts[0]), "is not read in code")
        return _GOES_ON

    def _assign(self, names: str | Sequence[str], value: Any) -> None:
        variables = self._stack[-1].variables
        if isinstance(names, str):
            variables[names] = value
            return
        items = value.items if isinstance(value, Named) else value
        if not isinstance(items, list | tuple) or len(items) != len(names):
            raise self._unknown("an assignment", f"needs {len(names)} values and is given {described(value)}")
        variables.update(zip(names, items, strict=True))

    def _decided(self, expression: Any) -> bool:
        value = self._value(expression)
        if isinstance(value, torch.Tensor):
            raise self._unknown("a decision", "depends on what is in the images or weights, which no graph can say")
        if not isinstance(value, bool | int | float):
            raise self._unknown("a decision", f"depends on {described(value)}")
        return bool(value)

    def _turn(self, body: Sequence[Any], line: int) -> Any:
        self._step()
        result = self._block(body)
        self._stack[-1].line = line
        return result

    def _loop(self, name: str, over: Any, body: Sequence[Any], *, line: int) -> Any:
        if over[:2] != ["call", ["name", "range"]] or len(over[2]) != 1:
            raise self._unknown("a loop", "goes over something else than a range")
        turns = self._value(over[2][0])
        if type(turns) is not int:
            raise self._unknown("a loop", f"has {described(turns)} as its number of turns")
        turn = 0
        while turn < turns:
            self._stack[-1].variables[name] = turn
            result = self._turn(body, line)
            if result is not _GOES_ON:
                return result
            turn += 1
        return _GOES_ON

    # Expressions ---------------------------------------------------------------------------------------------------

    def _value(self, expression: Sequence[Any]) -> Any:
        value = self._evaluated(expression)
        if isinstance(value, Unset):
            raise self._unknown("a value", value.why)
        return value

    def _evaluated(self, expression: Sequence[Any]) -> Any:
        self._step()
        kind, *parts = expression
        match kind:
            case "constant":
                return parts[0]
            case "name":
                return self._named(parts[0])
            case "attribute":
                path = self._path(expression)
                return self._global(path) if path else self._attribute(self._value(parts[0]), parts[1])
            case "call":
                return self._call(*parts)
            case "isinstance":
                strange = [name for name in parts[1] if name not in _TYPES]
                if strange:
                    raise self._unknown(f"the type '{printable(strange[0], 60)}'", "is not known")
                return _is_of(self._value(parts[0]), parts[1])
            case "list" | "tuple":
                return bounded([self._evaluated(one) for one in parts])
            case "dict":
                return dict(zip(map(self._text, parts[0]), map(self._value, parts[1]), strict=True))
            case "item":
                return self._item(self._value(parts[0]), self._value(parts[1]))
            case "choice":
                return self._value(parts[1] if self._decided(parts[0]) else parts[2])
            case "negative":
                return self._operator("torch.neg", [self._value(parts[0])], {})
        raise self._unknown(str(parts[0]), "is not read in code")

    def _text(self, expression: Any) -> str:
        value = self._value(expression)
        if not isinstance(value, str):
            raise self._unknown("a dictionary", f"has {described(value)} as a key")
        return value

    def _named(self, name: str) -> Any:
        variables = self._stack[-1].variables
        if name in variables:
            return variables[name]
        if name in _NUMBERS:
            return _NUMBERS[name]
        raise self._unknown(name, "is not known")

    def _path(self, expression: Any) -> str:
        """The dotted path of a name that no variable has, as ``torch.add``; else empty."""
        names: list[str] = []
        while expression[0] == "attribute":
            names.append(expression[2])
            expression = expression[1]
        is_global = expression[0] == "name" and expression[1] not in self._stack[-1].variables
        return ".".join([str(expression[1]), *reversed(names)]) if is_global else ""

    def _global(self, path: str) -> Any:
        root, _, rest = path.partition(".")
        constants = self._program.constants
        if root == "CONSTANTS" and rest[1:].isdecimal() and len(rest) < 9 and int(rest[1:]) < len(constants):
            return self._read(constants[int(rest[1:])])
        found = self._program.found(path) if root == "__torch__" else None
        of, _, member = path.rpartition(".")
        kind = self._program.found(of) if found is None else None
        if isinstance(kind, ScriptClass) and kind.base == "Enum" and member in kind.constants:
            return self._value(kind.constants[member])
        if found is None:
            raise self._unknown(path, "is not known")
        return found

    def _own(self, of: ScriptObject, name: str) -> Any:
        """An attribute; a list is one for a whole run, since the program may change it."""
        place = id(of), name
        if place not in self._attributes:
            self._attributes[place] = self._read(of.attributes[name])
        return self._attributes[place]

    def _read(self, value: Any) -> Any:
        """A value of an object: a weight as its tensor."""
        if isinstance(value, Weight):
            return self._weight(value.name)
        if isinstance(value, dict):
            return {key: self._read(one) for key, one in value.items()}
        return [self._read(one) for one in value] if isinstance(value, list) else value

    def _attribute(self, value: Any, name: str) -> Any:
        if isinstance(value, Named) and name in value.names:
            return value.items[value.names.index(name)]
        if isinstance(value, ScriptObject):
            if name == "training":
                return False
            if name in value.attributes:
                return self._own(value, name)
            of = self._program.class_of(value)
            if of is not None and name in of.constants:
                return self._value(of.constants[name])
        raise self._unknown(f"the attribute '{printable(name, 60)}'", f"is asked of {described(value)} without it")

    def _item(self, value: Any, place: Any) -> Any:
        items = value.items if isinstance(value, Named) else value
        is_place = isinstance(place, str) if isinstance(items, dict) else type(place) is int
        try:
            if isinstance(items, list | tuple | dict) and is_place:
                return items[place]
        except LookupError:
            pass
        raise self._unknown("an item", f"is asked of {described(value)} without it")

    def _call(self, called: Any, args: Any, keywords: Any) -> Any:
        path = self._path(called)
        if path in ("annotate", "unchecked_cast"):
            return self._evaluated(args[-1])
        if path == "uninitialized":
            return Unset()
        given = [self._evaluated(one) for one in args]
        named = {str(name): self._value(one) for name, one in keywords}
        if path in _CASTS:
            return self._operator(f"torch.{_CASTS[path]}", given, named)
        if path == "getattr":
            return self._attribute(given[0], str(given[1]))
        if path == "torch.device":
            return torch.device("cpu")
        if path and path.partition(".")[0] in _ROOTS and not path.startswith("__torch__."):
            return self._operator(path, given, named)
        if called[0] == "attribute" and not path:
            owner = self._value(called[1])
            of = self._program.class_of(owner) if isinstance(owner, ScriptObject) else None
            method = None if of is None else of.methods.get(called[2])
            if method is None:
                raise self._unknown(f"the method '{printable(called[2], 60)}'", f"is asked of {described(owner)}")
            return self._called(method, [owner, *given], named)
        function = self._global(path) if path else self._value(called)
        if isinstance(function, Function):
            return self._called(function, given, named)
        if isinstance(function, ScriptClass) and function.base == "NamedTuple" and len(given) == len(function.fields):
            return Named(function.fields, tuple(given))
        raise self._unknown(path or described(function), "is called, but is no function that is read")

    def _operator(self, path: str, args: list[Any], keywords: dict[str, Any]) -> Any:
        place = self.place
        try:
            with annotate({PLACE: place}):
                return self._operators.call(path, [_plain(one) for one in args], keywords, place)
        except ZoovetError:
            raise
        except MALFORMED as error:
            raise self._unknown(path, f"does not fit{said_in_parentheses(error)}") from None


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "Tensor": torch.Tensor,
    "List": list,
    "Tuple": (list, Named),
    "Dict": dict,
    "list": list,
    "tuple": (list, Named),
    "dict": dict,
    "NoneType": type(None),
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
}


def _is_of(value: Any, names: Sequence[str]) -> bool:
    """Whether a value is of a type of TorchScript's, to which a truth is no number."""
    if isinstance(value, bool):
        return "bool" in names
    return any(isinstance(value, _TYPES[name]) for name in names)


class _Frame:
    """A call of a function."""

    def __init__(self, function: Function, variables: dict[str, Any]) -> None:
        self.function, self.variables, self.line = function, variables, 0


def _plain(value: Any) -> Any:
    """A tuple as a list."""
    if isinstance(value, Unset):
        raise TypeError(value.why)
    return list(value.items) if isinstance(value, Named) else value
