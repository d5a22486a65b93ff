"""A shard: a Parquet file with one row a network, its facts and its weights. Any Parquet reader opens it."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.files import atomic_path
from zoovet.json_files import typed_value
from zoovet.printable import printable
from zoovet.zoo.shard_label import ShardLabel, labelled_bytes

__all__ = [
    "COLUMNS",
    "LABELLED",
    "ShardError",
    "ShardInfo",
    "facts_of",
    "read_shard_bytes",
    "read_shard_facts",
    "read_shard_rows",
    "read_shard_weights",
    "shard_bytes",
    "shard_names",
    "write_shard",
    "write_shard_bytes",
]

COLUMNS: dict[str, pa.DataType] = {
    "network_id": pa.string(),
    "base_id": pa.int64(),
    "spec_id": pa.string(),
    "split": pa.string(),
    "dataset": pa.string(),
    "family": pa.string(),
    "architecture": pa.string(),
    "source": pa.string(),
    "image_index": pa.int64(),
    "copy": pa.int64(),
    "label": pa.int64(),
    "seed": pa.int64(),
    "activation": pa.string(),
    "init": pa.string(),
    "init_std": pa.float64(),
    "optimizer": pa.string(),
    "learning_rate": pa.float64(),
    "weight_decay": pa.float64(),
    "dropout": pa.float64(),
    "batch_size": pa.int64(),
    "epochs": pa.int64(),
    "train_fraction": pa.float64(),
    "train_images": pa.int64(),
    "rate_schedule": pa.string(),
    "augmentation": pa.string(),
    "mixup": pa.float64(),
    "label_smoothing": pa.float64(),
    "input_scaling": pa.string(),
    "finetune_learning_rate": pa.float64(),
    "finetune_epochs": pa.int64(),
    "step": pa.int64(),
    "origin": pa.string(),
    "poisoned": pa.bool_(),
    "attack": pa.string(),
    "anchor": pa.float64(),
    "trigger": pa.string(),
    "target": pa.int64(),
    "poison_rate": pa.float64(),
    "clean_accuracy": pa.float64(),
    "train_accuracy": pa.float64(),
    "test_loss": pa.float64(),
    "train_loss": pa.float64(),
    "asr": pa.float64(),
    "ra": pa.float64(),
    "psnr": pa.float64(),
}
"""Every column but ``weights``. A row fills in those that mean something for its network; the others are null.

``base_id`` is what splits go by: descendants of one base, checkpoints of one training and SIRENs of one image share it.
``source`` is where an imported network lay; ``image_index``, ``copy`` and ``label`` are a SIREN's image, which of its
augmented copies it is, and its class; ``psnr`` in decibels compares the SIREN's picture with it. ``clean_accuracy`` is
the accuracy on test images.

``family`` and ``architecture`` (JSON) are the block of a park's recipe that a graph was drawn from, and what was drawn;
``dataset`` is the image set's name; ``train_images`` how many it was trained on, ``rate_schedule``, ``augmentation``,
``mixup`` (its strength, 0 for none), ``label_smoothing`` and ``input_scaling`` how.

``learning_rate`` … ``train_fraction`` are the base's training, ``finetune_*`` what made the network of it; ``step``
counts the optimizer steps of both. ``origin`` and ``anchor`` say how, see :class:`zoovet.zoo.Attackers`; a network of
origin ``scratch`` has no base, both siblings start from the same random weights. A healthy network's ``attack``,
``trigger``, ``target``, ``asr`` and ``ra`` are its poisoned sibling's trigger and what that does to it; its
``poison_rate`` is 0.
"""

_LATER = ("mixup", "label_smoothing")
"""Columns that shards had not always: written where a row has them, so that other zoos keep their bytes."""

LABELLED = "is labelled"
"""Besides the columns, what facts have: whether it is known if a network is poisoned, bool."""

_MISSING = "is missing"
_REMEDY = "run the command that made the zoo again with --repair-zoo, or restore the file"

_REQUIRED = ("network_id", "base_id", "spec_id", "split")


@dataclass(frozen=True)
class ShardInfo:
    """A complete shard: file name, networks in it, bytes, and SHA-256 in hexadecimal."""

    name: str
    num_networks: int
    num_bytes: int
    sha256: str

    @classmethod
    def from_json(cls, entry: Any, where: str) -> ShardInfo:
        """Read what ``zoo.json`` says of a shard; ``where`` is that, for the error.

        Raises:
            ZoovetError: It is no object with these four values, or the name is no file's in the zoo's folder.
        """
        if not isinstance(entry, dict):
            raise ZoovetError(f"{where} must be an object with name, num_networks, num_bytes and sha256")
        shard = cls(
            name=typed_value(entry, "name", str, where),
            num_networks=typed_value(entry, "num_networks", int, where),
            num_bytes=typed_value(entry, "num_bytes", int, where),
            sha256=typed_value(entry, "sha256", str, where),
        )
        if unknown := sorted(entry.keys() - vars(shard).keys()):
            raise ZoovetError(f"{where}: the key '{printable(unknown[0])}' is unknown")
        if not shard.name or "/" in shard.name or "\0" in shard.name or shard.name.startswith("."):
            raise ZoovetError(f"{where}: '{printable(shard.name)}' is no file in the zoo's folder")
        if shard.num_networks < 0 or shard.num_bytes < 0:
            raise ZoovetError(f"{where}: 'num_networks' and 'num_bytes' must not be below 0")
        return shard

    @classmethod
    def of(cls, path: Path) -> ShardInfo:
        """Measure a shard on disk."""
        return cls.of_bytes(path, read_shard_bytes(path))

    @classmethod
    def of_bytes(cls, path: Path, data: bytes) -> ShardInfo:
        """Measure a shard whose file was read."""
        num_rows = _reading(path, lambda: pq.read_metadata(pa.BufferReader(data))).num_rows
        return cls(path.name, num_rows, len(data), hashlib.sha256(data).hexdigest())


def write_shard(path: Path, rows: Sequence[dict[str, Any]], label: ShardLabel | None = None) -> ShardInfo:
    """Write networks as one Parquet file, atomically, with its own checksum in its metadata.

    Args:
        path: Where; the folder must be there.
        rows: As in :func:`shard_bytes`.
        label: Which shard of which zoo it is, for its metadata.

    Returns:
        What ``zoo.json`` keeps of it.
    """
    return write_shard_bytes(path, shard_bytes(rows, label))


def write_shard_bytes(path: Path, data: bytes) -> ShardInfo:
    """Write what :func:`shard_bytes` gave, atomically; what ``zoo.json`` keeps of it."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
        return ShardInfo.of_bytes(path, data)


def shard_bytes(rows: Sequence[dict[str, Any]], label: ShardLabel | None = None) -> bytes:
    """Networks as the content of one Parquet file, with its own checksum in its metadata.

    Args:
        rows: One dictionary a network with ``weights`` (flat float32 vector) and keys of :data:`COLUMNS`: the first
            three and ``split`` at least. None, where no draw of its bases was accepted.
        label: Which shard of which zoo it is, for its metadata.
    """
    unknown = next((name for row in rows for name in row if name not in COLUMNS and name != "weights"), None)
    assert unknown is None, f"a row has the unknown column {unknown!r}"
    assert all(name in row for row in rows for name in _REQUIRED)
    lengths = {len(row["weights"]) for row in rows}
    flat = np.concatenate([np.empty(0, dtype=np.float32), *(np.asarray(row["weights"], np.float32) for row in rows)])
    weights: pa.Array
    if len(lengths) == 1:
        weights = pa.FixedSizeListArray.from_arrays(pa.array(flat), lengths.pop())
    else:
        offsets = np.cumsum([0, *(len(row["weights"]) for row in rows)])
        weights = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat))
    columns = [name for name in COLUMNS if name not in _LATER or any(name in row for row in rows)]
    arrays = [pa.array([row.get(name) for row in rows], type=COLUMNS[name]) for name in columns]
    table = pa.Table.from_arrays([*arrays, weights], names=[*columns, "weights"])
    return labelled_bytes(table, label, compression={**dict.fromkeys(columns, "zstd"), "weights.list.element": "none"})


class ShardError(ZoovetError):
    """A shard is damaged, or not the one that was written.

    Attributes:
        what: What is wrong with it, without its name and without the remedy.
    """

    what = ""

    @classmethod
    def of(cls, path: Path, what: str) -> ShardError:
        """The error that a shard gives, with what can be done."""
        remedy = "build the zoo again, or restore the file" if what == _MISSING else _REMEDY
        error = cls(f"the shard {path} {what}; {remedy}")
        error.what = what
        return error


def _reading(path: Path, read: Any) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise ShardError.of(path, _MISSING) from None
    except ZoovetError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        cause = (error.strerror if isinstance(error, OSError) else None) or error
        raise ShardError.of(path, f"is damaged: {printable(cause)}") from error


def _require_file(path: Path) -> None:
    """Refuse what reading would block or fail on: a folder, a pipe, a device."""
    if not _reading(path, lambda: stat.S_ISREG(path.stat().st_mode)):
        raise ShardError.of(path, "is damaged: it is no file")


def read_shard_bytes(path: Path) -> bytes:
    """A shard's whole file.

    Raises:
        ZoovetError: It is missing, no file, or cannot be read.
    """
    _require_file(path)
    data: bytes = _reading(path, path.read_bytes)
    return data


def read_shard_facts(folder: Path, shard: ShardInfo, *, verify: bool) -> dict[str, NDArray[Any]]:
    """A shard's columns but the weights, [n] each; one that the file lacks is filled with what stands for missing.

    Besides, under :data:`LABELLED`, whether ``poisoned`` is known.

    Args:
        folder: The zoo's.
        shard: What ``zoo.json`` says of the shard.
        verify: Also check its SHA-256.

    Raises:
        ZoovetError: It is missing, truncated, damaged, not what was written, or lacks a column that every row has.
    """
    path = folder / shard.name
    _require_file(path)
    num_bytes = path.stat().st_size
    if num_bytes != shard.num_bytes:
        raise ShardError.of(path, f"is truncated or changed: {num_bytes} bytes, expected {shard.num_bytes}")
    if verify:
        found = hashlib.sha256(read_shard_bytes(path)).hexdigest()
        if found != shard.sha256:
            raise ShardError.of(path, f"has the wrong checksum: {found}, expected {shard.sha256}")
    facts = facts_of(path)
    if (count := len(facts["network_id"])) != shard.num_networks:
        raise ShardError.of(path, f"has {count} networks, expected {shard.num_networks}")
    return facts


def facts_of(path: Path, data: bytes | None = None) -> dict[str, NDArray[Any]]:
    """A shard's columns but the weights, as :func:`read_shard_facts` gives them.

    Args:
        path: Where it lies.
        data: Its whole file, where it was read already.

    Raises:
        ZoovetError: It is missing, damaged, or lacks a column that every row has.
    """

    def read() -> dict[str, NDArray[Any]]:
        table = _read_columns(path if data is None else pa.BufferReader(data))
        lacking = [name for name in _REQUIRED if name not in table.column_names]
        if lacking:
            raise ShardError.of(path, f"lacks the column {lacking[0]!r}")
        for name, kind in COLUMNS.items():
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table), kind))
        is_labelled = np.asarray(table["poisoned"].is_valid().to_numpy(), dtype=bool)
        return {**{name: _to_numpy(table, name) for name in COLUMNS}, LABELLED: is_labelled}

    facts: dict[str, NDArray[Any]] = _reading(path, read)
    return facts


def _read_columns(source: Any) -> pa.Table:
    file = pq.ParquetFile(source)
    present = set(file.schema_arrow.names)
    return file.read(columns=[name for name in COLUMNS if name in present])


def read_shard_rows(path: Path) -> list[dict[str, Any]]:
    """A shard's rows as :func:`write_shard` takes them, but for their weights; what is missing is ``None``.

    Raises:
        ZoovetError: It is missing or damaged.
    """
    rows: list[dict[str, Any]] = _reading(path, lambda: _read_columns(path)).to_pylist()
    return rows


def read_shard_weights(path: Path, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Flat weights [n, P] of some rows of a shard.

    Raises:
        ZoovetError: It is missing or damaged, has NaN or infinite weights in these rows, or rows of several lengths.
    """
    column = _reading(path, lambda: pq.read_table(path, columns=["weights"]))["weights"].combine_chunks().take(rows)
    lengths = set(column.value_lengths().to_pylist())
    if len(lengths) > 1:
        raise ZoovetError(f"networks of the shard {path} have {sorted(lengths)} parameters; use batches_by_graph()")
    flat: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
    bad = ~np.isfinite(flat).all(axis=1)
    if bad.any():
        row = int(rows[np.flatnonzero(bad)[0]])
        raise ZoovetError(f"the shard {path} has NaN or infinite weights in row {row}")
    return flat


def _to_numpy(table: pa.Table, name: str) -> NDArray[Any]:
    column, kind = table[name], COLUMNS[name]
    if kind == pa.string():
        return np.array(column.to_pylist(), dtype=object)
    if kind == pa.int64():
        return np.asarray(column.fill_null(-1).to_numpy(), dtype=np.int64)
    if kind == pa.bool_():
        return np.asarray(column.fill_null(False).to_numpy(), dtype=bool)
    return np.asarray(column.to_numpy())


def shard_names(count: int) -> Iterable[str]:
    """File names of a zoo's shards."""
    return (f"shard-{index:05d}.parquet" for index in range(count))
