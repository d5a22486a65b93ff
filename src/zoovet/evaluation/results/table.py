"""What all results have in common: one entry a network, checked, and a Parquet file with one row a network."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.files import atomic_path
from zoovet.json_files import parse_json_object

__all__ = [
    "BoolArray",
    "Columns",
    "FloatArray",
    "IntArray",
    "check_integers",
    "check_networks",
    "check_numbers",
    "floats",
    "network_columns",
    "network_fields",
    "read_table",
    "write_table",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_METADATA_KEY = b"zoovet"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the fields that hold one entry a network, by what the entries are; ``network_ids`` always is there.

    Attributes:
        texts, integers, flags, numbers: By what they are.
        gaps: Numbers that are NaN where nobody knows them.
    """

    texts: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return ("network_ids", *self.integers, *self.texts, *self.flags, *self.numbers, *self.gaps)


def check_networks(results: Any, columns: Columns) -> None:
    """Bring the columns of a frozen results object into form: tuples of text, arrays of int64, bool and float64.

    Raises:
        ZoovetError: No network, one that occurs twice, other lengths, or a number that is NaN.
    """
    set_field = object.__setattr__
    for name in ("network_ids", *columns.texts):
        set_field(results, name, tuple(str(entry) for entry in getattr(results, name)))
    for name in columns.integers:
        set_field(results, name, np.asarray(getattr(results, name), dtype=np.int64))
    for name in columns.flags:
        set_field(results, name, np.asarray(getattr(results, name), dtype=bool))
    ids = results.network_ids
    if not ids:
        raise ZoovetError("results need at least one network, got none")
    if len(set(ids)) < len(ids):
        ((twice, _),) = Counter(ids).most_common(1)
        raise ZoovetError(f"the network {twice!r} occurs twice in the results")
    for name in (*columns.texts, *columns.integers, *columns.flags):
        if len(getattr(results, name)) != len(ids):
            raise ZoovetError(f"{name} must have one entry a network ({len(ids)}), got {len(getattr(results, name))}")
    for name in columns.numbers:
        set_field(results, name, check_numbers(name, getattr(results, name), ids))
    for name in columns.gaps:
        set_field(results, name, _one_each(name, getattr(results, name), ids))


def check_numbers(name: str, values: Any, ids: Sequence[str]) -> FloatArray:
    """Numbers as float64 [n].

    Raises:
        ZoovetError: Not one a network, or one of them is NaN.
    """
    array = _one_each(name, values, ids)
    if np.isnan(array).any():
        raise ZoovetError(f"{name} of the network {ids[int(np.argmax(np.isnan(array)))]!r} is NaN")
    return array


def _one_each(name: str, values: Any, ids: Sequence[str]) -> FloatArray:
    array = floats(values)
    if array.shape != (len(ids),):
        raise ZoovetError(f"{name} must have one entry a network ({len(ids)}), got the shape {array.shape}")
    return array


def check_integers(name: str, values: Any, ids: Sequence[str], *, below: int) -> IntArray:
    """Whole numbers from 0 as int64 [n].

    Raises:
        ZoovetError: Not one a network, or one outside of 0 to ``below`` - 1.
    """
    array = np.asarray(values, dtype=np.int64)
    if array.shape != (len(ids),):
        raise ZoovetError(f"{name} must have one entry a network ({len(ids)}), got the shape {array.shape}")
    wrong = (array < 0) | (array >= below)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ZoovetError(f"{name} of the network {ids[place]!r} must be 0 to {below - 1}, got {array[place]}")
    return array


def floats(values: Any) -> FloatArray:
    """As float64."""
    return np.asarray(values, dtype=np.float64)


def network_columns(results: Any, columns: Columns) -> dict[str, Any]:
    """A results object's columns, to be written."""
    return {name: getattr(results, name) for name in columns.names}


def network_fields(table: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The columns of a table that was read, to make a results object of."""
    return {name: table[name] for name in columns.names}


def write_table(path: Path, columns: Mapping[str, Any], metadata: Mapping[str, Any], kind: str) -> None:
    """Write columns as Parquet, atomically, with JSON values in the metadata."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    content = json.dumps({"kind": kind, **metadata})
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({_METADATA_KEY: content.encode()}), temporary)


def read_table(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns and the metadata that :func:`write_table` wrote.

    Raises:
        ZoovetError: It is missing, damaged, or of another kind.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ZoovetError(f"there are no {kind} results at {path}; `zoovet evaluate` writes them") from None
    except (OSError, pa.ArrowException) as error:
        raise ZoovetError(f"the {kind} results {path} cannot be read: {error}") from error
    metadata = parse_json_object((table.schema.metadata or {}).get(_METADATA_KEY, b"{}"), f"the metadata of {path}")
    found = metadata.pop("kind", None)
    if found != kind:
        raise ZoovetError(f"{path} holds no {kind} results of zoovet, but {found or 'some other table'}")
    return {name: table.column(name).to_pylist() for name in table.column_names}, metadata
