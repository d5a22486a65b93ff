"""What ``torch.save`` wrote before version 1.6: pickles one after another, then the numbers of each storage."""

from __future__ import annotations

import os
import struct
from typing import IO, Any

from zoovet.readers.parsing.dtypes import ITEM_BYTES
from zoovet.readers.parsing.known_globals import Known
from zoovet.readers.parsing.pickles import PickleMachine
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.replies import Reply, Tree
from zoovet.readers.parsing.suspicious import refuse_wanted
from zoovet.readers.parsing.tensor_records import storage_of
from zoovet.readers.parsing.values import Pairs, Storage

__all__ = ["LEGACY_MAGIC", "read_torch_legacy"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""The number that the first pickle holds."""

_COUNT = struct.Struct("<q")


def read_torch_legacy(file: IO[bytes], file_bytes: int) -> Reply:
    """What the file holds, read from its beginning.

    Raises:
        Refusal: It is damaged, or names what weights do not need.
    """
    storages: dict[str, Storage] = {}

    def persistent(persistent_id: Any) -> Any:
        value = storage_of(persistent_id)
        if isinstance(value, Storage):
            storages.setdefault(value.key, value)
        return value

    known = Known()
    file.seek(0)
    try:
        _, _, system, root, keys = (PickleMachine(known, persistent).read(file) for _ in range(5))
    except Refusal as refusal:
        raise (refuse_wanted(known.wanted) if known.wanted else refusal) from refusal
    if known.wanted:
        raise refuse_wanted(known.wanted, root)
    if not isinstance(keys, list):
        raise Refusal(f"{DAMAGED}: it does not list its storages; get it anew")
    places = _places(file, keys, storages, file_bytes)

    def place(storage: Storage) -> tuple[int, int]:
        if storage.key not in places:
            raise Refusal(f"{DAMAGED}: it ends before its tensors do; get it anew")
        return places[storage.key]

    pairs = system.pairs if isinstance(system, Pairs) else []
    big = any(key == "little_endian" and value is False for key, value in pairs)
    return Tree(place, file_bytes).reply(root, byteorder="big" if big else "little")


def _places(
    file: IO[bytes], keys: list[Any], storages: dict[str, Storage], file_bytes: int
) -> dict[str, tuple[int, int]]:
    """First byte and size of each storage's numbers, which follow in the order of the keys, each after its count."""
    places: dict[str, tuple[int, int]] = {}
    position = file.tell()
    for key in keys:
        storage = storages.get(str(key)[:100]) if isinstance(key, str | int) else None
        if storage is None:
            raise Refusal(f"{DAMAGED}: it lists a storage that it does not use; get it anew")
        file.seek(position)
        head = file.read(_COUNT.size)
        count = _COUNT.unpack(head)[0] if len(head) == _COUNT.size else -1
        size = count * ITEM_BYTES[storage.dtype]
        position += _COUNT.size
        if count < 0 or position + size > file_bytes:
            raise Refusal(f"{DAMAGED}: it ends before its tensors do; get it anew")
        places[storage.key] = (position, size)
        position = file.seek(position + size, os.SEEK_SET)
    return places
