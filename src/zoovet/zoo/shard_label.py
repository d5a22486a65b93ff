"""What a shard says of itself, in its Parquet metadata: which shard of which recipe it is, and its own checksum.

So a shard that is not in ``zoo.json`` yet, since its build was killed, can be checked, and one that lies in another's
place is known. Shards of earlier versions say nothing of themselves.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["MADE_FROM", "ShardLabel", "label_of", "labelled_bytes", "read_label", "recipe_fingerprint"]

MADE_FROM = "canonicalized_from"
"""Key of a recipe: a fingerprint of the zoo that this one was made from."""

_CHECKSUM_KEY, _RECIPE_KEY, _INDEX_KEY = "zoovet.sha256", "zoovet.recipe", "zoovet.shard"
_BLANK = b"0" * 64
_MOST_BYTES_BETWEEN = 8
"""From the end of a key in Parquet's metadata to its value: a field's header and a length."""


@dataclass(frozen=True)
class ShardLabel:
    """Which shard of which zoo.

    Attributes:
        recipe: Fingerprint of the zoo's recipe; see :func:`recipe_fingerprint`.
        index: The shard's number, from 0.
    """

    recipe: str
    index: int


def recipe_fingerprint(recipe: dict[str, Any]) -> str:
    """SHA-256 in hexadecimal of a recipe as ``zoo.json`` keeps it, but for what its zoo was made from.

    A zoo of the same networks has the same bytes, whichever of two equal zoos it was made from.
    """
    kept = {key: value for key, value in recipe.items() if key != MADE_FROM}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def labelled_bytes(table: pa.Table, label: ShardLabel | None, **options: Any) -> bytes:
    """A table as a Parquet file with its checksum: the SHA-256 of the whole file where 64 zeros stand in its place.

    Args:
        table: What.
        label: Which shard it is; ``None`` where it is no zoo's.
        options: Of :class:`pyarrow.parquet.ParquetWriter`.
    """
    labels = {} if label is None else {_RECIPE_KEY: label.recipe, _INDEX_KEY: str(label.index)}
    file = pa.BufferOutputStream()
    with pq.ParquetWriter(file, table.schema, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**labels, _CHECKSUM_KEY: _BLANK.decode()})
    data = bytearray(file.getvalue())
    place = _place_of_checksum(data)
    assert place is not None, "the checksum's place is where the metadata's writer put it"
    assert data[place : place + 64] == _BLANK
    data[place : place + 64] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def label_of(data: bytes) -> tuple[ShardLabel | None, bool | None]:
    """What a shard says of itself.

    Args:
        data: The whole file.

    Returns:
        Its label, where it has one; and whether its checksum is right, ``None`` where it has none.
    """
    place = _place_of_checksum(data)
    if place is not None and not _is_right(data, place):
        return None, False
    try:
        label = read_label(pa.BufferReader(data))
    except (OSError, ValueError, pa.ArrowException):  # whoever reads the shard is told
        return None, None
    return label, True if place is not None else False if label is not None else None


def read_label(source: Any) -> ShardLabel | None:
    """The label in a shard's metadata, unchecked; ``None`` where it has none.

    Args:
        source: What pyarrow reads: a path or a buffer.
    """
    found = pq.read_metadata(source).metadata or {}
    index, recipe = found.get(_INDEX_KEY.encode(), b""), found.get(_RECIPE_KEY.encode())
    if recipe is None or not index.isdigit():
        return None
    return ShardLabel(recipe.decode("ascii", "replace"), int(index[:9]))


def _is_right(data: bytes, place: int) -> bool:
    blank = hashlib.sha256(data[:place])
    blank.update(_BLANK)
    blank.update(data[place + 64 :])
    return data[place : place + 64] == blank.hexdigest().encode()


def _place_of_checksum(data: bytes | bytearray) -> int | None:
    """Where the checksum stands, behind the last of its key's occurrences."""
    end_of_key = data.rfind(_CHECKSUM_KEY.encode())
    if end_of_key < 0:
        return None
    end_of_key += len(_CHECKSUM_KEY)
    length = bytes(data[end_of_key : end_of_key + _MOST_BYTES_BETWEEN]).find(bytes([64]))
    return None if length < 0 else end_of_key + length + 1
