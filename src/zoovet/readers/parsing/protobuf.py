"""Walking over the bytes of a protobuf: fields in order; what nobody asks for is not read from the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Protocol, overload

from zoovet.readers.parsing.refusal import DAMAGED, Refusal

__all__ = ["FIXED32", "FIXED64", "MESSAGE", "VARINT", "FileBytes", "Walk", "signed"]

VARINT, FIXED64, MESSAGE, FIXED32 = 0, 1, 2, 5
"""Kinds of fields on the wire."""

_SIZES = {FIXED64: 8, FIXED32: 4}
_MAX_FIELDS = 500_000
_PAGE = 2**16


class _Bytes(Protocol):
    @overload
    def __getitem__(self, place: int, /) -> int: ...

    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...


class FileBytes:
    """The bytes of a file, of which a page is in memory.

    Args:
        file: It.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._page, self._start = b"", 0

    @overload
    def __getitem__(self, place: int, /) -> int: ...

    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...

    def __getitem__(self, place: int | slice, /) -> int | bytes:
        """A byte, or those of a slice from a first to behind a last."""
        if isinstance(place, slice):
            self._file.seek(place.start)
            return self._file.read(place.stop - place.start)
        inside = place - self._start
        if not 0 <= inside < len(self._page):
            self._start, inside = place, 0
            self._file.seek(place)
            self._page = self._file.read(_PAGE)
        return self._page[inside]


class Walk:
    """Reads fields of messages.

    Args:
        data: All bytes.
    """

    def __init__(self, data: _Bytes) -> None:
        self.data = data
        self._num_fields = 0

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """(field, kind, first byte, byte behind the last) of each field of a message; of a varint (field, 0, it, 0).

        Raises:
            Refusal: They are none, reach beyond the message, or are too many.
        """
        while start < end:
            self._num_fields += 1
            if self._num_fields > _MAX_FIELDS:
                raise Refusal(f"has more than {_MAX_FIELDS} parts, more than networks have")
            key, start = self.varint(start, end)
            kind = key & 7
            if kind == VARINT:
                number, start = self.varint(start, end)
                yield key >> 3, kind, number, 0
                continue
            if kind == MESSAGE:
                size, start = self.varint(start, end)
            elif kind in _SIZES:
                size = _SIZES[kind]
            else:
                raise Refusal(f"{DAMAGED}: it has a part of an unknown kind; get it anew")
            if size > end - start:
                raise Refusal(f"{DAMAGED}: a part of it reaches beyond its end; get it anew")
            yield key >> 3, kind, start, start + size
            start += size

    def varint(self, start: int, end: int) -> tuple[int, int]:
        """A number, and the byte behind it.

        Raises:
            Refusal: It does not end in time.
        """
        result = 0
        for place in range(start, min(end, start + 10)):
            byte = self.data[place]
            result |= (byte & 127) << (7 * (place - start))
            if byte < 128:
                return result, place + 1
        raise Refusal(f"{DAMAGED}: a number in it does not end; get it anew")

    def varints(self, start: int, end: int) -> Iterator[int]:
        """Numbers one behind the other.

        Raises:
            Refusal: The last does not end.
        """
        number, shift = 0, 0
        for byte in self.data[start:end]:
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                yield number
                number, shift = 0, 0
            elif shift > 63:
                break
        if shift:
            raise Refusal(f"{DAMAGED}: a number in it does not end; get it anew")

    def text(self, start: int, end: int) -> str:
        """A text.

        Raises:
            Refusal: It is none in UTF-8.
        """
        try:
            return self.data[start:end].decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal(f"{DAMAGED}: a name in it is no text in UTF-8; get it anew") from None


def signed(number: int) -> int:
    """The signed number of 64 bits that a varint stands for."""
    number &= 2**64 - 1
    return number - 2**64 if number >> 63 else number
