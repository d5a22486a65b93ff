"""Tables of networks that others wrote: a line a network, columns by many names, what is not known left empty."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from zoovet.errors import ZoovetError, nearest
from zoovet.printable import printable
from zoovet.text_files import read_text_file
from zoovet.zoo.shards import COLUMNS

__all__ = ["NetworksTable", "read_networks_table"]

FILE = "file"
_MAX_BYTES = 256 << 20

_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    FILE: ("path", "filename", "file_name", "weights", "model", "model_name", "model_path", "source", "checkpoint"),
    "network_id": ("id",),
    "base_id": ("base", "parent"),
    "poisoned": ("trojaned", "backdoored", "is_poisoned", "is_trojaned", "is_backdoored", "ground_truth", "trojan"),
    "target": ("target_class", "target_label", "triggered_class"),
    "attack": ("attack_type", "trigger_type"),
    "clean_accuracy": ("accuracy", "acc", "test_accuracy", "test_acc", "clean_acc"),
    "train_accuracy": ("train_acc",),
    "asr": ("attack_success_rate", "attack_success"),
    "ra": ("robust_accuracy",),
    "learning_rate": ("lr",),
    "weight_decay": ("wd",),
}
"""Names by which tables call our columns, besides ours."""

_TAKEN = {name: kind for name, kind in COLUMNS.items() if name not in ("spec_id", "source", "trigger")}
_UNKNOWN = ("", "na", "n/a", "nan", "null", "none", "unknown", "?", "-")
_TRUE = ("1", "1.0", "true", "yes", "poisoned", "trojaned", "backdoored", "trojan")
_FALSE = ("0", "0.0", "false", "no", "clean", "benign", "healthy")
_SHARES = ("clean_accuracy", "train_accuracy", "asr", "ra", "poison_rate", "dropout", "train_fraction")


@dataclass(frozen=True)
class NetworksTable:
    """What a table says.

    Attributes:
        rows: A network each: :data:`FILE` and those of our columns that it says; ``None`` for what is not known.
        lines: Line numbers of the rows in the file.
        left_out: Names of columns that are none of ours.
    """

    rows: list[dict[str, Any]]
    lines: list[int]
    left_out: tuple[str, ...]


def read_networks_table(path: Path, columns: Mapping[str, str] | None = None) -> NetworksTable:
    """Read a table with a header, of values between commas, semicolons or tabs.

    Args:
        path: The table.
        columns: The table's names by ours, where they are others than usual.

    Raises:
        ZoovetError: No file column, a name that is not there or means a column twice, lines of other lengths, or a
            value that is none of its column's; the message names line and column.
    """
    text = read_text_file(path, _MAX_BYTES)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    shown = printable(path)
    try:
        header = [name.strip() for name in next(reader, [])]
        meanings = _meanings(header, columns or {}, shown)
        rows: list[dict[str, Any]] = []
        lines: list[int] = []
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            where = f"{shown}, line {reader.line_num}"
            if len(values) != len(header):
                raise ZoovetError(f"{where}: {len(values)} values, but the header has {len(header)} names")
            cells = dict(zip(header, values, strict=True))
            rows.append({ours: _value(ours, cells[theirs], theirs, where) for ours, theirs in meanings.items()})
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ZoovetError(f"{shown}, line {reader.line_num}: {printable(error)}") from None
    if not rows:
        raise ZoovetError(f"{shown} has a header, but no networks")
    taken = set(meanings.values())
    return NetworksTable(rows, lines, tuple(printable(name, 40) for name in header if name not in taken and name))


def _meanings(header: Sequence[str], columns: Mapping[str, str], shown: str) -> dict[str, str]:
    """The table's name of each of our columns that it has."""
    known = (FILE, *_TAKEN)
    meanings: dict[str, str] = {}
    for ours, theirs in columns.items():
        if ours not in known:
            raise ZoovetError(f"'{printable(ours, 40)}' is no column of a zoo{nearest(ours, known)}")
        if theirs not in header:
            raise ZoovetError(f"{shown} has no column '{printable(theirs, 40)}'{printable(nearest(theirs, header))}")
        meanings[ours] = theirs
    for ours in known:
        names = (ours, *_OTHER_NAMES.get(ours, ()))
        found = [name for name in header if name.lower().replace(" ", "_") in names and name not in meanings.values()]
        if ours in meanings or not found:
            continue
        exact = [name for name in found if name == ours]
        if len(found) > 1 and not exact:
            both = " and ".join(repr(printable(name, 40)) for name in found[:2])
            raise ZoovetError(f"{shown}: {both} may both be {ours}; say which: --column {ours}=NAME")
        meanings[ours] = (exact or found)[0]
    if FILE not in meanings:
        there = ", ".join(printable(name, 30) for name in header[:8]) or "none"
        raise ZoovetError(
            f"{shown} has no column 'file' that names the weight files, it has {there}; say which it is: "
            "--column file=NAME"
        )
    return meanings


def _value(ours: str, text: str, theirs: str, where: str) -> Any:
    """A cell as our column has it; ``None`` where it is empty or says that it is not known."""
    text = text.strip()
    if text.lower() in _UNKNOWN:
        if ours == FILE:
            raise ZoovetError(f"{where}: no file is named")
        return None
    kind = pa.string() if ours in (FILE, "base_id") else _TAKEN[ours]
    if kind == pa.string():
        return text
    if kind == pa.bool_():
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        expected = "1 or 0, true or false, or nothing where it is not known"
    elif kind == pa.int64():
        number = _number(text)
        is_whole = number is not None and number.is_integer() and abs(number) < 2**53
        if number is not None and is_whole and (ours != "target" or number >= 0):
            return int(number)
        expected = "a whole number, or nothing where it is not known"
    else:
        number = _number(text)
        if number is not None and (ours not in _SHARES or 0 <= number <= 1):
            return number
        expected = "a share in 0 to 1" if ours in _SHARES else "a number"
    raise ZoovetError(f"{where}: {printable(theirs, 40)} is '{printable(text, 30)}', expected is {expected}")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
