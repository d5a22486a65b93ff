"""The header of a safetensors file: names, dtypes, shapes, places, and texts beside them."""

from __future__ import annotations

import json
import math
import struct
from typing import IO, Any

from zoovet.printable import printable
from zoovet.readers.parsing.dtypes import ITEM_BYTES, SAFETENSORS
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.replies import MAX_TENSORS, Reply, Tree
from zoovet.readers.parsing.values import OddTensor, Pairs, Storage, StoredTensor

__all__ = ["read_safetensors"]

_LENGTH = struct.Struct("<Q")
_MAX_HEADER = 100_000_000
_MAX_DIMENSIONS = 64
_METADATA = "__metadata__"


def read_safetensors(file: IO[bytes], file_bytes: int) -> Reply:
    """What the file holds.

    Raises:
        Refusal: It is damaged or not as the format wants it.
    """
    file.seek(0)
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    start = _LENGTH.size + length
    if length > _MAX_HEADER or start > file_bytes:
        raise _damaged(f"its header should have {length:,} bytes, which is more than there are or may be")
    try:
        text = file.read(length).decode("utf-8")
        header = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise _damaged("its header is nested too deeply") from error
    except ValueError as error:
        raise _damaged(f"its header cannot be read ({printable(error, 100)})") from error
    if not isinstance(header, dict):
        raise _damaged("its header is no dictionary")
    metadata = header.pop(_METADATA, None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged("its metadata are not texts")
    if len(header) > MAX_TENSORS:
        raise Refusal(f"holds more than {MAX_TENSORS:,} tensors, which no network that zoovet knows does")
    places = {name: _place(name, entry) for name, entry in header.items()}
    _require_whole(places, file_bytes - start)
    pairs = [(name, _tensor(name, header[name], *places[name])) for name in header]
    tree = Tree(lambda storage: (start + places[storage.key][0], storage.num_bytes), file_bytes)
    return tree.reply(Pairs(pairs), metadata=metadata, byteorder="little", ordered=False)


def _damaged(what: str) -> Refusal:
    return Refusal(f"is a safetensors file that {DAMAGED}: {what}; get it anew")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _are_naturals(values: Any, most: int) -> bool:
    return isinstance(values, list) and len(values) <= most and all(type(n) is int and 0 <= n < 2**62 for n in values)


def _place(name: str, entry: Any) -> tuple[int, int]:
    """First byte after the header, and the byte after the last one."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged(f"its tensor '{printable(name, 80)}' is not described by a dtype, a shape and offsets")
    offsets = entry["data_offsets"]
    if not _are_naturals(offsets, 2) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(f"the offsets of its tensor '{printable(name, 80)}' make no sense")
    return offsets[0], offsets[1]


def _require_whole(places: dict[str, tuple[int, int]], num_bytes: int) -> None:
    """Tensors lie one after another, without a gap, to the end."""
    position = 0
    for name, (first, end) in sorted(places.items(), key=lambda item: item[1]):
        if first != position:
            raise _damaged(f"its tensor '{printable(name, 80)}' does not begin where the one before ends")
        position = end
    if position != num_bytes:
        raise _damaged(f"its tensors have {position:,} bytes, but {num_bytes:,} follow its header")


def _tensor(name: str, entry: dict[str, Any], first: int, end: int) -> StoredTensor | OddTensor:
    shape, label = entry["shape"], entry["dtype"]
    if not _are_naturals(shape, _MAX_DIMENSIONS):
        raise _damaged(f"the shape of its tensor '{printable(name, 80)}' makes no sense")
    if not isinstance(label, str):
        raise _damaged(f"the dtype of its tensor '{printable(name, 80)}' is no text")
    dtype = SAFETENSORS.get(label)
    if dtype is None:
        return OddTensor("stored", printable(label, 20), tuple(shape))
    if dtype.startswith("float4") and shape:
        shape = [*shape[:-1], shape[-1] // 2]  # two numbers a byte
    if math.prod(shape) * ITEM_BYTES[dtype] != end - first:
        raise _damaged(f"its tensor '{printable(name, 80)}' has another number of bytes than its shape needs")
    stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return StoredTensor(Storage(name, dtype, end - first), dtype, 0, tuple(shape), stride)
