"""What an ONNX file holds, by Python alone: nodes, inputs and outputs, and where the numbers of its tensors lie."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

from zoovet.printable import printable
from zoovet.readers.parsing.protobuf import FIXED32, FIXED64, MESSAGE, VARINT, FileBytes, Walk, signed
from zoovet.readers.parsing.refusal import Refusal
from zoovet.readers.parsing.replies import Reply

__all__ = ["GRAPH_KINDS", "is_onnx", "read_onnx_file"]

GRAPH_KINDS = (5, 10)
"""Kinds of a node's attributes that are graphs: these are not read."""

_MODEL = {1: VARINT, 2: MESSAGE, 3: MESSAGE, 4: MESSAGE, 5: VARINT, 6: MESSAGE, 8: MESSAGE, 14: MESSAGE}
_GRAPH = 7
_GRAPH_FIELDS = (1, 2, 5, 10, 11, 12, 13, 14, 15, 16)
_STRUCTURE_BYTES = 16 << 20
_MAX_VALUES = 4096
_MAX_AXES = 64
_MAX_LISTED_BYTES = 2**27
_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 6, 7, 8


def is_onnx(head: bytes) -> bool:
    """Whether a file's first bytes are an ONNX model's: what stands before its graph, and the graph's beginning."""
    walk, place = Walk(head), 0
    try:
        while place < len(head):
            key, behind = walk.varint(place, len(head))
            field, kind = key >> 3, key & 7
            if field == _GRAPH and kind == MESSAGE:
                _, behind = walk.varint(behind, len(head))
                inner, behind = walk.varint(behind, len(head))
                size, _ = walk.varint(behind, len(head))
                return inner & 7 == MESSAGE and inner >> 3 in _GRAPH_FIELDS and (size > 0 or inner >> 3 == 1)
            if _MODEL.get(field) != kind:
                return False
            number, behind = walk.varint(behind, len(head))
            place = behind + (number if kind == MESSAGE else 0)
    except Refusal:
        return False
    return False


def read_onnx_file(file: IO[bytes], file_bytes: int) -> Reply:
    """What the file holds.

    Returns:
        ``onnx``: ``opsets`` [[domain, version]], ``nodes``, ``tensors``, ``inputs``, ``outputs`` by name, and whether
        there are ``sparse`` tensors; numbers of tensors are ``["file", start, bytes]``, or ``["blob", start, bytes]``
        where they were listed one by one.

    Raises:
        Refusal: It is damaged, or has too much beside its tensors' numbers.
    """
    reader = _Reader(Walk(FileBytes(file)))
    described = reader.model(file_bytes)
    beside = file_bytes - reader.number_bytes
    if beside > _STRUCTURE_BYTES:
        raise Refusal(f"has {beside >> 20} MB beside the numbers of its tensors; {_STRUCTURE_BYTES >> 20} MB are read")
    return Reply({"onnx": described, "byteorder": "little"}, reader.blob)


class _Reader:
    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.blob = bytearray()
        self.number_bytes = 0

    def model(self, end: int) -> dict[str, Any]:
        opsets: list[Any] = []
        described: dict[str, Any] = {"nodes": [], "tensors": [], "inputs": [], "outputs": [], "sparse": False}
        num_graphs = 0
        for field, kind, first, last in self.walk.fields(0, end):
            if field == 8 and kind == MESSAGE:
                own = self._fields(first, last, {1: self.walk.text}, {2})
                opsets.append([own.get(1, ""), signed(own.get(2, 0))])
            elif field == _GRAPH and kind == MESSAGE:
                num_graphs += 1
                self._graph(first, last, described)
        if num_graphs > 1:
            raise Refusal(f"has {num_graphs} graphs; an ONNX file has one")
        return {"opsets": opsets, **described}

    def _graph(self, start: int, end: int, described: dict[str, Any]) -> None:
        for field, kind, first, last in self.walk.fields(start, end):
            if kind != MESSAGE:
                continue
            match field:
                case 1:
                    described["nodes"].append(self._node(first, last))
                case 5:
                    described["tensors"].append(self._tensor(first, last))
                case 11:
                    described["inputs"].append(self._input(first, last))
                case 12:
                    described["outputs"].append(self._fields(first, last, {1: self.walk.text}).get(1, ""))
                case 15:
                    described["sparse"] = True

    def _fields(
        self,
        start: int,
        end: int,
        messages: Mapping[int, Callable[[int, int], Any]],
        varints: Iterable[int] = (),
        lists: Iterable[int] = (),
    ) -> dict[int, Any]:
        """Fields of a message by number: the last of each, or a list of all."""
        found: dict[int, Any] = {number: [] for number in lists}
        for field, kind, first, last in self.walk.fields(start, end):
            if kind == VARINT and field in varints:
                value: Any = first
            elif kind == MESSAGE and field in messages:
                value = messages[field](first, last)
            else:
                continue
            if field in lists:
                found[field].append(value)
            else:
                found[field] = value
        return found

    def _node(self, start: int, end: int) -> dict[str, Any]:
        text = self.walk.text
        readers = {1: text, 2: text, 3: text, 4: text, 5: self._attribute, 7: text}
        own = self._fields(start, end, readers, lists=(1, 2, 5))
        return {
            "op": own.get(4, ""),
            "domain": own.get(7, ""),
            "name": own.get(3, ""),
            "inputs": own[1],
            "outputs": own[2],
            "attributes": own[5],
        }

    def _attribute(self, start: int, end: int) -> dict[str, Any]:
        """Name, kind and value; no value of kinds that no operation has which is read."""
        loose = self._loose
        readers: dict[int, Callable[[int, int], Any]] = {1: self.walk.text, 4: loose, 5: self._tensor, 21: loose}
        own = self._fields(start, end, {**readers, 9: loose}, {3, 20}, lists=(9,))
        kind, name = own.get(20, 0), own.get(1, "")
        value: Any = None
        if kind == _FLOAT:
            value = (self._floats(start, end, 2) or [0.0])[-1]
        elif kind == _INT:
            value = signed(own.get(3, 0))
        elif kind == _STRING:
            value = own.get(4, "")
        elif kind == _TENSOR:
            value = own.get(5)
        elif kind == _FLOATS:
            value = self._floats(start, end, 7)
        elif kind == _INTS:
            value = self._integers(start, end, 8)
        elif kind == _STRINGS:
            value = own[9]
        if isinstance(value, list) and len(value) > _MAX_VALUES:
            raise Refusal(f"has the attribute '{printable(name, 80)}' with more than {_MAX_VALUES} values")
        return {"name": name, "kind": kind, "value": value, "refers": bool(own.get(21))}

    def _loose(self, start: int, end: int) -> str:
        return self.walk.data[start:end].decode("utf-8", "replace")

    def _floats(self, start: int, end: int, wanted: int) -> list[float]:
        numbers: list[float] = []
        for field, kind, first, last in self.walk.fields(start, end):
            if field == wanted and kind in (MESSAGE, FIXED32) and len(numbers) <= _MAX_VALUES:
                last -= (last - first) % 4
                numbers += [one for (one,) in struct.iter_unpack("<f", self.walk.data[first:last])]
        return numbers

    def _integers(self, start: int, end: int, wanted: int, most: int = _MAX_VALUES) -> list[int]:
        numbers: list[int] = []
        for field, kind, first, last in self.walk.fields(start, end):
            if field == wanted and kind in (MESSAGE, VARINT):
                for number in self.walk.varints(first, last) if kind == MESSAGE else (first,):
                    numbers.append(signed(number))
                    if len(numbers) > most:
                        return numbers
        return numbers

    def _tensor(self, start: int, end: int) -> dict[str, Any]:
        own = self._fields(start, end, {8: self.walk.text, 13: self._entry}, {2, 14}, lists=(13,))
        dims = self._integers(start, end, 1, _MAX_AXES)
        raw, listed, segmented = None, dict[str, Any](), False
        for field, kind, first, last in self.walk.fields(start, end):
            if field == 9 and kind == MESSAGE:
                raw = ["file", first, last - first]
                self.number_bytes += last - first
            elif field == 3 and kind == MESSAGE:
                segmented = True
            elif field in (4, 10) and kind in (MESSAGE, FIXED32, FIXED64):
                self._listed(listed, field, self.walk.data[first:last])
            elif field in (5, 7, 11) and kind in (MESSAGE, VARINT):
                numbers = self.walk.varints(first, last) if kind == MESSAGE else (first,)
                self._listed(listed, field, array("q", map(signed, numbers)).tobytes())
                self.number_bytes += last - first if kind == MESSAGE else 0
        return {
            "name": own.get(8, ""),
            "dims": dims,
            "dtype": own.get(2, 0),
            "raw": raw,
            "listed": {str(field): ["blob", *place] for field, place in listed.items()},
            "external": dict(own[13]) if own.get(14, 0) == 1 else None,
            "segmented": segmented,
        }

    def _listed(self, listed: dict[Any, Any], field: int, numbers: bytes) -> None:
        """Keep numbers that a tensor lists; those of a field lie one behind the other."""
        if field in (4, 10):
            self.number_bytes += len(numbers)
        start, size = listed.get(field, (len(self.blob), 0))
        if start + size != len(self.blob):  # another field came between
            start, numbers = len(self.blob), bytes(self.blob[start : start + size]) + numbers
            size = 0
        self.blob += numbers
        listed[field] = (start, size + len(numbers))
        if len(self.blob) > _MAX_LISTED_BYTES:
            raise Refusal("lists too many of its numbers one by one; save its tensors with raw_data")

    def _entry(self, start: int, end: int) -> list[str]:
        own = self._fields(start, end, {1: self.walk.text, 2: self.walk.text})
        return [own.get(1, ""), own.get(2, "")]

    def _input(self, start: int, end: int) -> dict[str, Any]:
        """Name, type of numbers, and axes: sizes, ``None`` where open; no axes where there is no shape."""
        name, dtype, axes = "", 0, None
        for field, kind, first, last in self.walk.fields(start, end):
            if field == 1 and kind == MESSAGE:
                name = self.walk.text(first, last)
            elif field == 2 and kind == MESSAGE:
                tensor = self._fields(first, last, {1: self._tensor_type}).get(1)
                dtype, axes = tensor or (0, None)
        return {"name": name, "dtype": dtype, "axes": axes}

    def _tensor_type(self, start: int, end: int) -> tuple[int, list[int | None] | None]:
        def shape(first: int, last: int) -> list[int | None]:
            sizes = self._fields(first, last, {1: size}, lists=(1,))[1]
            return list(sizes[: _MAX_AXES + 1])

        def size(first: int, last: int) -> int | None:
            number = self._fields(first, last, {}, {1}).get(1)
            return None if number is None else signed(number)

        own = self._fields(start, end, {2: shape}, {1})
        return own.get(1, 0), own.get(2)
