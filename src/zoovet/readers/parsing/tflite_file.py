"""What a TensorFlow Lite file holds, by Python alone: operators, tensors, and where the numbers of its buffers lie."""

from __future__ import annotations

from typing import IO, Any

from zoovet.printable import printable
from zoovet.readers.parsing.flatbuffers import FlatBuffer, FlatTable
from zoovet.readers.parsing.protobuf import FileBytes
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.replies import MAX_TENSORS, Reply
from zoovet.readers.parsing.tflite_operators import CUSTOM, OPERATORS, SETTINGS, Setting

__all__ = ["is_tflite", "read_tflite_file"]

_IDENTIFIER = slice(4, 8), b"TFL3"
_VERSION = 3
_MAX_AXES, _MAX_SETTINGS = 64, 64
_TIMES_FILE = 4
"""What tensors come to that share buffers, as those of one bias of zeros do."""


def is_tflite(head: bytes) -> bool:
    """Whether a file's first bytes are a TensorFlow Lite model's."""
    place, identifier = _IDENTIFIER
    return head[place] == identifier


def read_tflite_file(file: IO[bytes], file_bytes: int) -> Reply:
    """What the file holds.

    Returns:
        ``tflite``: ``tensors`` with the place ``[start, bytes]`` of their numbers, ``None`` where they have none;
        ``operators`` in the order of the file, with the numbers of their tensors, -1 for what is left out; the numbers
        of the ``inputs`` and ``outputs``.

    Raises:
        Refusal: It is damaged, of another version, or holds several networks.
    """
    buffer = FlatBuffer(FileBytes(file), file_bytes)
    model = buffer.root()
    version = model.number(0, "I")
    if version != _VERSION:
        raise Refusal(f"is a TFLite file of version {version}; version {_VERSION} is read: convert the network anew")
    codes = model.tables(1, _operator_name)
    places = model.tables(4, lambda one: _place(buffer, one))
    graphs = model.tables(2, lambda one: one)
    if len(graphs) != 1:
        raise Refusal(
            f"is a TFLite file of {len(graphs)} subgraphs, as control flow, variables and several signatures need; one "
            "is read: convert the network with its weights frozen, and one signature"
        )
    tensors = graphs[0].tables(0, lambda one: _tensor(one, places))
    if len(tensors) > MAX_TENSORS:
        raise Refusal(f"has {len(tensors):,} tensors; at most {MAX_TENSORS:,} are read")
    if sum(one["place"][1] for one in tensors if one["place"] is not None) > _TIMES_FILE * file_bytes:
        raise Refusal("has tensors that share their numbers many times over, as no network's do")
    described = {
        "tensors": tensors,
        "operators": graphs[0].tables(3, lambda one: _operator(one, codes)),
        "inputs": graphs[0].numbers(1, "i") or [],
        "outputs": graphs[0].numbers(2, "i") or [],
    }
    return Reply({"tflite": described, "byteorder": "little"})


def _operator_name(table: FlatTable) -> str:
    number = max(table.number(3, "i"), table.number(0, "b"))  # the second is what older files have, up to 127
    if number == CUSTOM:
        return f"{OPERATORS[CUSTOM]} {printable(table.text(1), 80)}"
    return OPERATORS[number] if 0 <= number < len(OPERATORS) else f"operator {number}"


def _place(buffer: FlatBuffer, table: FlatTable) -> tuple[int, int] | None:
    """Where a buffer's numbers lie: within its table, or behind all tables where a file is large."""
    start, size = table.number(1, "Q"), table.number(2, "Q")
    if start <= 1:
        start, size = table.items(0, 1)
    buffer.require(start, size)
    return (start, size) if size else None


def _tensor(table: FlatTable, places: list[tuple[int, int] | None]) -> dict[str, Any]:
    name, index = table.text(3), table.number(2, "I")
    shape, signature = table.numbers(0, "i") or [], table.numbers(7, "i")
    if index >= max(1, len(places)):
        raise Refusal(f"{DAMAGED}: the tensor '{printable(name, 80)}' names a buffer that is not there; get it anew")
    if len(shape) > _MAX_AXES:
        raise Refusal(f"has the tensor '{printable(name, 80)}' of {len(shape)} axes, more than tensors have")
    return {
        "name": name,
        "shape": shape,
        "open": [axis for axis, size in enumerate((signature or shape)[:_MAX_AXES]) if size < 0],
        "dtype": table.number(1, "b"),
        "place": places[index] if places else None,
        "is_variable": table.number(5, "?", False),
        "is_sparse": table.has(6),
        "is_elsewhere": table.number(10, "I") > 0,
    }


def _operator(table: FlatTable, codes: list[str]) -> dict[str, Any]:
    code = table.number(0, "I")
    if code >= len(codes):
        raise Refusal(f"{DAMAGED}: an operator in it has no name; get it anew")
    name, settings = codes[code], {}
    if name in SETTINGS:
        kind, known = SETTINGS[name]
        given = table.number(3, "B")
        if given not in (0, kind):
            raise Refusal(f"{DAMAGED}: its operator {name} has settings of another one; get it anew")
        settings = _settings(table.table(4) if given else None, known)
    return {
        "name": name,
        "settings": settings,
        "inputs": table.numbers(1, "i") or [],
        "outputs": table.numbers(2, "i") or [],
    }


def _settings(table: FlatTable | None, known: tuple[Setting, ...]) -> dict[str, Any]:
    """Settings by name, those that are left out by what they are then."""
    found: dict[str, Any] = {}
    for field, (name, layout) in enumerate(known):
        if layout.startswith("*"):
            found[name] = None if table is None else table.numbers(field, layout[1:])
            if len(found[name] or ()) > _MAX_SETTINGS:
                raise Refusal(f"has an operator with {len(found[name])} numbers of {name}, more than tensors have axes")
        else:
            default = int(layout.startswith("+"))
            found[name] = default if table is None else table.number(field, layout[-1], default)
    return found
