"""The text of a TorchScript program as a tree in JSON: parsed, never compiled, never run.

TorchScript is written in a subset of Python's syntax. Statements are ``[kind, line, …]``, expressions ``[kind, …]``.
What an interpreter has no use for, as types, is left out; what TorchScript does not write is there as ``other``.
"""

from __future__ import annotations

import ast
from typing import Any

from zoovet.printable import printable
from zoovet.readers.parsing.refusal import DAMAGED, Refusal

__all__ = ["CodeReader"]

_MAX_NODES = 1_500_000
_MAX_DEPTH = 120
_MAX_TEXT = 4096
_LARGEST_INTEGER = 2**63
_TYPED = frozenset(("annotate", "unchecked_cast", "uninitialized"))
"""Calls whose first argument is a type."""


class CodeReader:
    """Reads the files of one program; they may have so many nodes together."""

    def __init__(self) -> None:
        self._left = _MAX_NODES
        self._depth = 0
        self._where = ""

    def read(self, where: str, text: str) -> dict[str, Any]:
        """The classes and functions of a file.

        Args:
            where: Its name, for messages.
            text: Of it.

        Raises:
            Refusal: It is no text of Python, imports something, or is too large or nested too deeply.
        """
        self._where = printable(where, 100)
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            place = f"{self._where}:{line}" if line else self._where
            raise Refusal(f"{DAMAGED}: its {place} is no code of TorchScript; save it anew") from error
        classes, functions = {}, {}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = self._class(node)
            elif isinstance(node, ast.FunctionDef):
                functions[node.name] = self._function(node)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                raise self._imports(node)
        return {"classes": classes, "functions": functions}

    def _imports(self, node: ast.AST) -> Refusal:
        return Refusal(
            f"is unsafe: its {self._where}:{getattr(node, 'lineno', 0)} imports a module, which TorchScript never does"
        )

    def _class(self, node: ast.ClassDef) -> dict[str, Any]:
        """What a class has: its base, its parameters' names, the fields of a tuple, its constants and methods."""
        base = node.bases[0].id if node.bases and isinstance(node.bases[0], ast.Name) else ""
        found: dict[str, Any] = {"base": base, "parameters": [], "fields": [], "constants": {}, "methods": {}}
        for one in node.body:
            self._count(one)
            if isinstance(one, ast.FunctionDef):
                found["methods"][one.name] = self._function(one)
            elif isinstance(one, ast.Import | ast.ImportFrom):
                raise self._imports(one)
            elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                found["fields"].append(one.target.id)
                if one.value is not None:
                    found["constants"][one.target.id] = self._expression(one.value)
            elif isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
                found["parameters"] += _parameters(one)
                if base == "Enum":
                    found["constants"][one.targets[0].id] = self._expression(one.value)
        return found

    def _function(self, node: ast.FunctionDef) -> dict[str, Any]:
        given = node.args
        if given.vararg or given.kwarg or given.posonlyargs or node.decorator_list:
            raise Refusal(f"{DAMAGED}: its {self._where}:{node.lineno} is no function of TorchScript; save it anew")
        names = [one.arg for one in (*given.args, *given.kwonlyargs)]
        missing: list[ast.expr | None] = [None] * (len(given.args) - len(given.defaults))
        defaults = [*missing, *given.defaults, *given.kw_defaults]
        parameters = [
            [name, None if default is None else self._expression(default)]
            for name, default in zip(names, defaults, strict=True)
        ]
        return {"parameters": parameters, "body": self._block(node.body), "line": node.lineno}

    def _block(self, statements: list[ast.stmt]) -> list[Any]:
        self._enter(statements[0])
        written = [self._statement(one) for one in statements if not isinstance(one, ast.Pass)]
        self._depth -= 1
        return written

    def _statement(self, node: ast.stmt) -> list[Any]:
        self._count(node)
        line = node.lineno
        match node:
            case ast.Import() | ast.ImportFrom():
                raise self._imports(node)
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
                if node.value is None:
                    return ["other", line, "a declaration"]
                names = _names(target)
                if names is None:
                    return ["other", line, "an assignment to an attribute"]
                return ["assign", line, names, self._expression(node.value)]
            case ast.Expr(value=value):
                return ["expression", line, self._expression(value)]
            case ast.Return(value=value):
                return ["return", line, ["constant", None] if value is None else self._expression(value)]
            case ast.If(test=test, body=body, orelse=orelse):
                return ["if", line, self._expression(test), self._block(body), self._block(orelse) if orelse else []]
            case ast.While(test=test, body=body, orelse=[]):
                return ["while", line, self._expression(test), self._block(body)]
            case ast.For(target=ast.Name(id=name), iter=over, body=body, orelse=[]):
                return ["for", line, name, self._expression(over), self._block(body)]
            case ast.Raise():
                return ["raise", line]
        return ["other", line, _kind(node)]

    def _expression(self, node: ast.expr) -> list[Any]:
        self._enter(node)
        written = self._written(node)
        self._depth -= 1
        return written

    def _written(self, node: ast.expr) -> list[Any]:
        match node:
            case ast.Name(id=name):
                return ["name", name]
            case ast.Constant(value=value):
                return self._constant(value)
            case ast.Attribute(value=value, attr=name):
                return ["attribute", self._expression(value), name]
            case ast.Call(func=ast.Name(id="isinstance"), args=[value, kind]):
                return ["isinstance", self._expression(value), _types(kind)]
            case ast.Call(func=function, args=args, keywords=keywords):
                is_typed = isinstance(function, ast.Name) and function.id in _TYPED
                return [
                    "call",
                    self._expression(function),
                    [self._expression(one) for one in (args[1:] if is_typed else args)],
                    [[str(one.arg), self._expression(one.value)] for one in keywords],
                ]
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return ["list" if isinstance(node, ast.List) else "tuple", *map(self._expression, items)]
            case ast.Dict(keys=keys, values=values) if None not in keys:
                return ["dict", [self._expression(key) for key in keys if key], [*map(self._expression, values)]]
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                return ["item", self._expression(value), self._expression(index)]
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return ["choice", *map(self._expression, (test, body, orelse))]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return ["negative", self._expression(operand)]
        return ["other", _kind(node)]

    def _constant(self, value: Any) -> list[Any]:
        if isinstance(value, str) and len(value) > _MAX_TEXT:
            value = value[:_MAX_TEXT]
        elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
            return ["other", "a number of more than 64 bits"]
        is_plain = value is None or isinstance(value, bool | int | float | str)
        return ["constant", value] if is_plain else ["other", f"a constant of the kind {type(value).__name__}"]

    def _enter(self, node: ast.AST) -> None:
        self._count(node)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            line = getattr(node, "lineno", 0)
            raise Refusal(f"has code nested more than {_MAX_DEPTH} deep ({self._where}:{line}), more than networks do")

    def _count(self, node: ast.AST) -> None:
        self._left -= 1
        if self._left < 0:
            raise Refusal(f"has code of more than {_MAX_NODES:,} parts, more than networks do")


def _names(target: ast.expr) -> str | list[str] | None:
    """What an assignment gives a value to: a name, several; ``None``: something else."""
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Tuple | ast.List):
        names = [one.id for one in target.elts if isinstance(one, ast.Name)]
        return names if len(names) == len(target.elts) else None
    return None


def _parameters(node: ast.Assign) -> list[str]:
    """The texts in what ``__parameters__`` is given."""
    target, value = node.targets[0], node.value
    if not isinstance(target, ast.Name) or target.id != "__parameters__" or not isinstance(value, ast.List):
        return []
    texts = [one.value for one in value.elts if isinstance(one, ast.Constant)]
    return [one for one in texts if isinstance(one, str) and len(one) <= _MAX_TEXT]


def _types(node: ast.expr) -> list[str]:
    """The names of the types that a value is asked for, without what they hold."""
    nodes = node.elts if isinstance(node, ast.Tuple | ast.List) else [node]
    outer = [one.value if isinstance(one, ast.Subscript) else one for one in nodes]
    return [one.id if isinstance(one, ast.Name) else "" for one in outer]


def _kind(node: ast.AST) -> str:
    return f"Python's '{type(node).__name__}'"
