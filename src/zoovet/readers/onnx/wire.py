"""A look at a protobuf's bytes before it is parsed: how much of them is no mere numbers.

Protobuf makes an object of two bytes, so that a small file could take much memory. Numbers of tensors do not grow.
"""

from __future__ import annotations

from collections.abc import Iterator

from zoovet.errors import ZoovetError

__all__ = ["require_bounded"]

_MAX_STRUCTURE = 16 << 20
_MAX_FIELDS = 500_000
_GRAPH, _NODE, _INITIALIZER, _ATTRIBUTE, _TENSOR = 7, 1, 5, 5, 5
_NUMBERS = (4, 9, 10)
"""A tensor's ``float_data``, ``raw_data`` and ``double_data``."""
_FIXED = {1: 8, 5: 4}


def require_bounded(data: bytes) -> None:
    """Refuse a model that has much beside its tensors' numbers, or is no protobuf.

    Raises:
        ZoovetError: It is so.
    """
    walk = _Walk(data)
    numbers = 0
    for graph in walk.parts(0, len(data), _GRAPH):
        for field, start, end in walk.fields(*graph):
            if field == _INITIALIZER:
                numbers += walk.numbers(start, end)
            elif field == _NODE:
                for attribute in walk.parts(start, end, _ATTRIBUTE):
                    numbers += sum(walk.numbers(*tensor) for tensor in walk.parts(*attribute, _TENSOR))
    if len(data) - numbers > _MAX_STRUCTURE:
        raise ZoovetError(
            f"it has {(len(data) - numbers) >> 20} MB beside the numbers of its tensors; {_MAX_STRUCTURE >> 20} MB are "
            "read"
        )


class _Walk:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._num_fields = 0

    def parts(self, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
        """Where the messages of one field lie."""
        return ((first, last) for field, first, last in self.fields(start, end) if field == wanted)

    def numbers(self, start: int, end: int) -> int:
        """How many bytes of a tensor are its numbers."""
        return sum(last - first for field, first, last in self.fields(start, end) if field in _NUMBERS)

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(field, start, end) of what has a length."""
        while start < end:
            self._num_fields += 1
            if self._num_fields > _MAX_FIELDS:
                raise ZoovetError(f"it has more than {_MAX_FIELDS} parts")
            key, start = self._varint(start, end)
            kind = key & 7
            if kind == 0:
                _, start = self._varint(start, end)
            elif kind == 2:
                length, start = self._varint(start, end)
                if length > end - start:
                    raise ZoovetError("it is cut off or damaged")
                yield key >> 3, start, start + length
                start += length
            elif kind in _FIXED:
                start += _FIXED[kind]
            else:
                raise ZoovetError("it is no ONNX file, or it is damaged")
        if start > end:
            raise ZoovetError("it is cut off or damaged")

    def _varint(self, start: int, end: int) -> tuple[int, int]:
        result = 0
        for place, byte in enumerate(self._data[start : min(end, start + 10)]):
            result |= (byte & 127) << (7 * place)
            if byte < 128:
                return result, start + place + 1
        raise ZoovetError("it is cut off or damaged")
