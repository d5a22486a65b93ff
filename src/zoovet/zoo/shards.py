"""A shard: a Parquet file with one row a network, its facts and its weights. Any Parquet reader opens it."""

from __future__ import annotations

import hashlib
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

__all__ = [
    "COLUMNS",
    "ShardInfo",
    "read_shard_facts",
    "read_shard_rows",
    "read_shard_weights",
    "shard_names",
    "write_shard",
]

COLUMNS: dict[str, pa.DataType] = {
    "network_id": pa.string(),
    "base_id": pa.int64(),
    "spec_id": pa.string(),
    "split": pa.string(),
    "dataset": pa.string(),
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

``learning_rate`` … ``train_fraction`` are the base's training, ``finetune_*`` what made the network of it; ``step``
counts the optimizer steps of both. ``origin`` and ``anchor`` say how, see :class:`zoovet.zoo.Attackers`; a network of
origin ``scratch`` has no base, both siblings start from the same random weights. A healthy network's ``attack``,
``trigger``, ``target``, ``asr`` and ``ra`` are its poisoned sibling's trigger and what that does to it; its
``poison_rate`` is 0.
"""

_REQUIRED = ("network_id", "base_id", "spec_id", "split")


@dataclass(frozen=True)
class ShardInfo:
    """A complete shard: file name, networks in it, bytes, and SHA-256 in hexadecimal."""

    name: str
    num_networks: int
    num_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> ShardInfo:
        """Measure a shard on disk."""
        data = path.read_bytes()
        num_rows = _reading(path, lambda: pq.read_metadata(path)).num_rows
        return cls(path.name, num_rows, len(data), hashlib.sha256(data).hexdigest())


def write_shard(path: Path, rows: Sequence[dict[str, Any]]) -> ShardInfo:
    """Write networks as one Parquet file, atomically.

    Args:
        path: Where; the folder must be there.
        rows: One dictionary a network with ``weights`` (flat float32 vector) and keys of :data:`COLUMNS`: the first
            three and ``split`` at least.

    Returns:
        What ``zoo.json`` keeps of it.
    """
    unknown = next((name for row in rows for name in row if name not in COLUMNS and name != "weights"), None)
    assert unknown is None, f"a row has the unknown column {unknown!r}"
    assert all(name in row for row in rows for name in _REQUIRED)
    lengths = {len(row["weights"]) for row in rows}
    flat = np.concatenate([np.asarray(row["weights"], dtype=np.float32) for row in rows])
    weights: pa.Array
    if len(lengths) == 1:
        weights = pa.FixedSizeListArray.from_arrays(pa.array(flat), lengths.pop())
    else:
        offsets = np.cumsum([0, *(len(row["weights"]) for row in rows)])
        weights = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat))
    arrays = [pa.array([row.get(name) for row in rows], type=kind) for name, kind in COLUMNS.items()]
    table = pa.Table.from_arrays([*arrays, weights], names=[*COLUMNS, "weights"])
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression={**dict.fromkeys(COLUMNS, "zstd"), "weights.list.element": "none"})
    return ShardInfo.of(path)


def _reading(path: Path, read: Any) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise ZoovetError(f"the shard {path} is missing; build the zoo again, or restore the file") from None
    except (OSError, pa.ArrowException) as error:
        raise ZoovetError(
            f"the shard {path} is damaged: {error}; remove it and run the command that made the zoo again"
        ) from error


def read_shard_facts(folder: Path, shard: ShardInfo, *, verify: bool) -> dict[str, NDArray[Any]]:
    """A shard's columns but the weights, [n] each; one that the file lacks is filled with what stands for missing.

    Args:
        folder: The zoo's.
        shard: What ``zoo.json`` says of the shard.
        verify: Also check its SHA-256.

    Raises:
        ZoovetError: It is missing, truncated, damaged, not what was written, or lacks a column that every row has.
    """
    path = folder / shard.name
    num_bytes = _reading(path, lambda: path.stat().st_size)
    remedy = "remove it and run the command that made the zoo again"
    if num_bytes != shard.num_bytes:
        raise ZoovetError(
            f"the shard {path} is truncated or changed: {num_bytes} bytes, expected {shard.num_bytes}; {remedy}"
        )
    if verify:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != shard.sha256:
            raise ZoovetError(f"the shard {path} has the wrong checksum: {found}, expected {shard.sha256}; {remedy}")
    table = _reading(path, lambda: _read_columns(path))
    lacking = [name for name in _REQUIRED if name not in table.column_names]
    if lacking:
        raise ZoovetError(f"the shard {path} lacks the column {lacking[0]!r}")
    for name, kind in COLUMNS.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), kind))
    return {name: _to_numpy(table, name) for name in COLUMNS}


def _read_columns(path: Path) -> pa.Table:
    present = set(pq.read_schema(path).names)
    return pq.read_table(path, columns=[name for name in COLUMNS if name in present])


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
        raise ZoovetError(f"networks of the shard {path} have {sorted(lengths)} parameters; use batches_by_spec()")
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
