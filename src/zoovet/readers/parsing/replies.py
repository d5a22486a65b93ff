"""What the reading process answers: a tree in JSON, where in the file numbers lie, and bytes that a pickle held itself.

A pickle may hold one list a thousand times in itself; written out it would never end. So what a tree would come to is
counted before it is written, each shared part once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from zoovet.printable import printable
from zoovet.readers.parsing.dtypes import ITEM_BYTES
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.values import Array, Global, Instance, OddTensor, Pairs, Storage, StoredTensor

__all__ = ["MAX_TENSORS", "Reply", "Tree"]

MAX_VALUES = 1_000_000
MAX_TENSORS = 30_000
_MAX_REPEATED = 50_000
_MAX_DEPTH = 100
_MAX_NAME = 4096
_LETTERS_A_VALUE = 16
_RECORD = 4
_SPARE_BYTES = 2**26
_TIMES_FILE = 4
_NUMBER_KINDS = "biufc"


@dataclass
class Reply:
    """What is known of a file.

    Attributes:
        description: JSON.
        blob: Bytes that the description refers to.
    """

    description: dict[str, Any]
    blob: bytearray = field(default_factory=bytearray)


class Tree:
    """Writes what a file holds as JSON.

    Args:
        place: First byte in the file, and size, of a storage's numbers.
        file_bytes: The file's size.
    """

    def __init__(self, place: Callable[[Storage], tuple[int, int]], file_bytes: int) -> None:
        self.place = place
        self.budget = _TIMES_FILE * file_bytes + _SPARE_BYTES
        self.blob = bytearray()
        self.num_tensors = 0
        self._name: Any = ""
        self._blobs: dict[int, tuple[int, int]] = {}

    def reply(self, root: Any, **facts: Any) -> Reply:
        """The answer for what a file holds.

        Raises:
            Refusal: It comes to too much, or a tensor reaches beyond its storage.
        """
        _require_bounded(root)
        return Reply({"data": self._write(root), **facts}, self.blob)

    def _write(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | float | str):
            return value
        if isinstance(value, int):
            return value if abs(value) < 2**62 else ["opaque", f"a number of {value.bit_length()} bits"]
        if isinstance(value, list | tuple):
            return ["list", *map(self._write, value)]
        if isinstance(value, Pairs):
            return ["dict", *self.entries(value.pairs)]
        if isinstance(value, StoredTensor):
            return self._tensor(value)
        if isinstance(value, OddTensor):
            self._count_tensor()
            return ["odd", value.kind, value.dtype, value.shape]
        if isinstance(value, bytes | bytearray):
            return ["bytes", *self._keep(value)]
        if isinstance(value, Array):
            return self._array(value)
        if isinstance(value, Instance):
            return self.instance(value)
        if isinstance(value, complex):
            return ["complex", value.real, value.imag]
        return ["opaque", printable(value.path) if isinstance(value, Global) else type(value).__name__]

    def instance(self, instance: Instance) -> Any:
        """What stands for an object of a class that is not built."""
        return ["instance", printable(instance.of.path), self._write(_content(instance))]

    def entries(self, pairs: Iterable[Any]) -> Iterator[Any]:
        """Keys and values in turn, as they are written."""
        for key, value in pairs:
            if isinstance(key, str) and len(key) > _MAX_NAME:
                raise Refusal(
                    f"has an entry with a name of {len(key):,} characters ({printable(key, 40)}); "
                    f"at most {_MAX_NAME:,} are read"
                )
            plain = key is None or isinstance(key, str | float) or (isinstance(key, int) and abs(key) < 2**60)
            yield key if plain else ["key", type(key).__name__]
            self._name = key if plain else ""
            yield self._write(value)

    def _count_tensor(self) -> None:
        self.num_tensors += 1
        if self.num_tensors > MAX_TENSORS:
            raise Refusal(f"holds more than {MAX_TENSORS:,} tensors, which no network that zoovet knows does")

    def _tensor(self, tensor: StoredTensor) -> list[Any]:
        self._count_tensor()
        start, num_bytes = self.place(tensor.storage)
        if tensor.storage.start + tensor.storage.num_bytes > num_bytes:
            raise Refusal(f"{DAMAGED}: tensor '{self._shown}' has fewer bytes than it should; get it anew")
        size = ITEM_BYTES[tensor.dtype]
        numbers = math.prod(tensor.shape)
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
        if numbers and last >= tensor.storage.num_bytes // size:
            raise Refusal(f"{DAMAGED}: tensor '{self._shown}' reaches beyond its numbers; get it anew")
        self.budget -= numbers * size
        if self.budget < 0:
            raise Refusal("repeats its numbers: written out, its tensors would be many times the file's size")
        place = [start + tensor.storage.start, tensor.storage.num_bytes]
        view = [tensor.offset, tensor.shape, tensor.stride] if numbers else [0, tensor.shape, [0] * len(tensor.shape)]
        return ["tensor", *place, tensor.dtype, *view, tensor.negative, tensor.conjugate]

    @property
    def _shown(self) -> str:
        return printable(self._name, 80)

    def _keep(self, raw: bytes | bytearray) -> tuple[int, int]:
        if id(raw) not in self._blobs:
            self._blobs[id(raw)] = (len(self.blob), len(raw))
            self.blob += raw
        return self._blobs[id(raw)]

    def _array(self, array: Array) -> list[Any]:
        dtype = array.dtype
        raw = array.raw.encode("latin-1") if isinstance(array.raw, str) else array.raw
        if array.raw is not raw:
            array.raw = raw  # kept, so that its place is known by its id
        if (
            dtype is None
            or not isinstance(raw, bytes | bytearray)
            or dtype.code[:1] not in _NUMBER_KINDS
            or not dtype.code[1:].isdecimal()
        ):
            return ["opaque", "a NumPy array of other things than numbers"]
        order = dtype.order if dtype.order in "<>" else ""
        shape = None if array.shape is None else list(array.shape)
        return ["array", *self._keep(raw), f"{order}{dtype.code}", shape, array.fortran]


def _content(instance: Instance) -> Any:
    """What an object is made of, by what its class is given."""
    if isinstance(instance.state, Pairs):
        return instance.state
    if instance.pairs:
        return Pairs(instance.pairs)
    return instance.items or list(instance.arguments)


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Pairs):
        return (entry for _, entry in value.pairs)
    return (_content(value),) if isinstance(value, Instance) else ()


def _weight(value: Any) -> int:
    if isinstance(value, str):
        return 1 + len(value) // _LETTERS_A_VALUE
    return 1 if value is None or isinstance(value, int | float) else _RECORD


def _require_bounded(root: Any) -> None:
    """Refuse what written out would be too much, is nested too deeply, or holds itself; each part is seen once."""
    counts: dict[int, int] = {}
    repeated = 0
    path: list[tuple[Any, Iterator[Any]]] = [(root, iter(_children(root)))]
    totals = [_weight(root)]
    while path:
        value, left = path[-1]
        for child in left:
            if not isinstance(child, list | tuple | Pairs | Instance):
                totals[-1] += _weight(child)
            elif id(child) in counts:
                totals[-1] += counts[id(child)]
                repeated += counts[id(child)]
            elif len(path) == _MAX_DEPTH:
                raise Refusal(f"is nested more than {_MAX_DEPTH} deep, or holds itself, which no weight file does")
            else:
                path.append((child, iter(_children(child))))
                totals.append(1)
                break
            if totals[-1] > MAX_VALUES:
                raise Refusal(f"holds more than {MAX_VALUES:,} values beside its tensors: more than weight files do")
            if repeated > _MAX_REPEATED:
                raise Refusal("repeats parts of itself within itself many times over, as files do that break readers")
        else:
            path.pop()
            total = counts[id(value)] = totals.pop()
            if totals:
                totals[-1] += total
