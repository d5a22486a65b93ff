"""An ONNX file with the numbers in it that lie in other files, so that it can be written with others as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.loaded import GraphData
from zoovet.readers.onnx.external import ExternalData
from zoovet.readers.parsing.protobuf import MESSAGE, VARINT, Walk
from zoovet.readers.parsing.refusal import Refusal

__all__ = ["embedded"]

_GRAPH, _INITIALIZER, _NAME = 7, 5, 8
_RAW, _EXTERNAL, _LOCATION = 9, 13, 14
_LARGEST = 2**31 - 1
"""Bytes that a protobuf may have."""

Piece = bytes | bytearray | memoryview


def embedded(data: GraphData, folder: Path, source: str) -> bytes | None:
    """The file as it would be if the numbers of other files stood in it; ``None`` where it has all of its own.

    Args:
        data: What it holds.
        folder: Where the others lie.
        source: The file, for messages.

    Raises:
        ZoovetError: Another file cannot be read, or is not as long as it should be; or the file would be larger than
            2 GB, which ONNX files are at most.
    """
    tensors = {one["name"]: one["external"] for one in data.description["tensors"] if one["external"] is not None}
    if not tensors:
        return None
    others, numbers = ExternalData(folder), dict[str, bytearray]()
    try:
        for name, where in tensors.items():
            what, length = f"{source}: the tensor '{printable(name, 80)}'", where.get("length", "")
            if not (length.isascii() and length.isdigit() and len(length) <= 18):
                raise ZoovetError(f"{what} lies in another file and does not say how long it is there")
            numbers[name] = others.read(where, int(length), what)
        if len(data.file) + sum(map(len, numbers.values())) > _LARGEST:
            raise ZoovetError(f"{source}: with the numbers of other files it has more than the 2 GB of an ONNX file")
        return _rewritten(memoryview(data.file), numbers)
    except Refusal as refusal:
        raise ZoovetError(f"{source} {refusal}") from None


def _rewritten(old: Any, numbers: Mapping[str, bytearray]) -> bytes:
    walk, new = Walk(old), list[Piece]()
    for field, kind, first, last in walk.fields(0, len(old)):
        if field != _GRAPH or kind != MESSAGE:
            new += _field(old, field, kind, first, last)
        else:
            new += _message(field, [piece for part in walk.fields(first, last) for piece in _part(walk, part, numbers)])
    return b"".join(new)


def _part(walk: Walk, part: tuple[int, int, int, int], numbers: Mapping[str, bytearray]) -> list[Piece]:
    """A graph's part; a tensor whose numbers lie elsewhere with its numbers."""
    field, kind, first, last = part
    if field != _INITIALIZER or kind != MESSAGE:
        return _field(walk.data, *part)
    kept, name = list[Piece](), ""
    for inner, inner_kind, start, end in walk.fields(first, last):
        if inner == _NAME and inner_kind == MESSAGE:
            name = bytes(walk.data[start:end]).decode("utf-8", errors="replace")
        if inner not in (_RAW, _EXTERNAL, _LOCATION):
            kept += _field(walk.data, inner, inner_kind, start, end)
    return _message(field, [*kept, *_message(_RAW, [numbers[name]])]) if name in numbers else _field(walk.data, *part)


def _field(data: Any, field: int, kind: int, first: int, last: int) -> list[Piece]:
    """A field as it is written, in pieces."""
    if kind == MESSAGE:
        return _message(field, [data[first:last]])
    key = _varint(field << 3 | kind)
    return [key + _varint(first)] if kind == VARINT else [key, data[first:last]]


def _message(field: int, pieces: list[Piece]) -> list[Piece]:
    return [_varint(field << 3 | MESSAGE) + _varint(sum(map(len, pieces))), *pieces]


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)
