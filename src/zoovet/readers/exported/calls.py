"""One call of a traced program, and tables of what reads which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from zoovet.printable import with_article
from zoovet.readers.exported.values import Constant, Unreadable, Variable
from zoovet.readers.exported.writer import GraphWriter

__all__ = ["Call", "Reader", "pair", "sides"]


@dataclass(frozen=True)
class Call:
    """An operator and what it is given.

    Attributes:
        writer: Where the graph is written.
        arguments: By the operator's own names, defaults filled in.
        shape: Of the result as traced; ``()`` where it is no single tensor.
    """

    writer: GraphWriter
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def variable(self, name: str = "self") -> Variable:
        """An argument that must depend on the images.

        Raises:
            Unreadable: It does not.
        """
        value = self.arguments[name]
        if not isinstance(value, Variable):
            raise Unreadable(f"reads a constant as {name!r} beside values that depend on the images")
        return value

    def plain(self, name: str = "self") -> Variable:
        """An argument whose first axis counts images.

        Raises:
            Unreadable: It does not.
        """
        value = self.variable(name)
        if not value.is_plain:
            raise Unreadable("reads images along another axis than the first")
        return value

    def constant(self, name: str) -> Constant | None:
        """An argument that must not depend on the images, or is left out.

        Raises:
            Unreadable: It depends on them.
        """
        value = self.arguments.get(name)
        if isinstance(value, Variable):
            raise Unreadable(f"has {with_article(name)} that depends on the images")
        if value is None or isinstance(value, Constant):
            return value
        raise Unreadable(f"has {value!r} for {with_article(name)}")

    def like(self, op: str, value: Variable, **attributes: Any) -> Variable:
        """Write an operation that keeps its only input's shape."""
        return value.like(self.writer.add(op, value.site, **attributes), value.shape)


Reader = Callable[[Call], Any]
"""What writes a call into the graph and gives its value."""


def pair(value: Any) -> tuple[int, int]:
    """(height, width) of an argument that may be one number for both."""
    numbers = [value] if isinstance(value, int) else list(value)
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def sides(value: Any) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a padding that is alike on opposite sides."""
    return (*pair(value), *pair(value))
