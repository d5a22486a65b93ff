"""Walking over the tables of a FlatBuffer: offsets and lengths are checked against the file before they are used."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Protocol

from zoovet.readers.parsing.refusal import DAMAGED, Refusal

__all__ = ["FlatBuffer", "FlatTable"]

_MAX_PARTS = 500_000
_MAX_TEXT = 4096
_LETTERS_A_PART = 16
_FAR = f"{DAMAGED}: a part of it lies beyond its end; get it anew"


class _Bytes(Protocol):
    def __getitem__(self, place: slice, /) -> bytes: ...


class FlatBuffer:
    """The bytes of a file, of which parts are read.

    Args:
        data: All bytes.
        num_bytes: How many there are.
    """

    def __init__(self, data: _Bytes, num_bytes: int) -> None:
        self._data, self._end = data, num_bytes
        self._num_parts = 0

    def root(self) -> FlatTable:
        """The table that holds all others.

        Raises:
            Refusal: It lies beyond the file.
        """
        return FlatTable(self, self.behind(0))

    def claim(self, count: int) -> None:
        """Count parts that are about to be read.

        Raises:
            Refusal: They are too many.
        """
        self._num_parts += count
        if self._num_parts > _MAX_PARTS:
            raise Refusal(f"has more than {_MAX_PARTS:,} parts, more than networks have")

    def require(self, place: int, num_bytes: int) -> None:
        """Check that bytes lie within the file.

        Raises:
            Refusal: They do not.
        """
        if place < 0 or num_bytes < 0 or place + num_bytes > self._end:
            raise Refusal(_FAR)

    def number(self, place: int, layout: str) -> Any:
        """A number of a layout of :mod:`struct`."""
        return self.numbers(place, layout, 1)[0]

    def numbers(self, place: int, layout: str, count: int) -> list[Any]:
        """Several numbers, one behind the other."""
        size = struct.calcsize(f"<{layout}")
        self.require(place, count * size)
        self.claim(count)
        return [number for (number,) in struct.iter_unpack(f"<{layout}", self._data[place : place + count * size])]

    def behind(self, place: int) -> int:
        """The place that an offset, which counts from where it stands, leads to."""
        return place + int(self.number(place, "I"))

    def text(self, place: int, num_bytes: int) -> str:
        """A text; what is no UTF-8 in it is replaced.

        Raises:
            Refusal: It is too long.
        """
        if num_bytes > _MAX_TEXT:
            raise Refusal(f"has a name of {num_bytes:,} bytes; at most {_MAX_TEXT:,} are read")
        self.claim(num_bytes // _LETTERS_A_PART)
        return self._data[place : place + num_bytes].decode("utf-8", "replace")


class FlatTable:
    """A table: fields by their number, all of which may be left out.

    Args:
        buffer: What it is in.
        place: Its first byte.
    """

    def __init__(self, buffer: FlatBuffer, place: int) -> None:
        self._buffer, self._place = buffer, place
        listed = place - int(buffer.number(place, "i"))
        num_bytes = int(buffer.number(listed, "H"))
        self._fields = buffer.numbers(listed, "H", num_bytes // 2)[2:]

    def has(self, field: int) -> bool:
        """Whether a field is there."""
        return field < len(self._fields) and self._fields[field] > 0

    def number(self, field: int, layout: str, default: Any = 0) -> Any:
        """A number of a layout of :mod:`struct`."""
        return self._buffer.number(self._at(field), layout) if self.has(field) else default

    def numbers(self, field: int, layout: str) -> list[Any] | None:
        """A list of numbers; ``None`` where it is left out."""
        if not self.has(field):
            return None
        start, count = self.items(field, struct.calcsize(f"<{layout}"))
        return self._buffer.numbers(start, layout, count)

    def text(self, field: int) -> str:
        """A text; empty where it is left out."""
        return self._buffer.text(*self.items(field, 1)) if self.has(field) else ""

    def table(self, field: int) -> FlatTable | None:
        """A table within this one; ``None`` where it is left out."""
        return FlatTable(self._buffer, self._buffer.behind(self._at(field))) if self.has(field) else None

    def tables(self, field: int, read: Callable[[FlatTable], Any]) -> list[Any]:
        """What is read of each of a list of tables."""
        if not self.has(field):
            return []
        start, count = self.items(field, 4)
        self._buffer.claim(count)
        return [read(FlatTable(self._buffer, self._buffer.behind(start + 4 * index))) for index in range(count)]

    def items(self, field: int, size: int) -> tuple[int, int]:
        """Where the items of a list of a size begin, and how many there are; (0, 0) where it is left out.

        Raises:
            Refusal: They reach beyond the file.
        """
        if not self.has(field):
            return 0, 0
        place = self._buffer.behind(self._at(field))
        count = int(self._buffer.number(place, "I"))
        self._buffer.require(place + 4, count * size)
        return place + 4, count

    def _at(self, field: int) -> int:
        return self._place + int(self._fields[field])
