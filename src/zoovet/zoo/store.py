"""A zoo on disk: a folder of Parquet shards, one row a network, and ``zoo.json``.

``zoo.json`` holds the format version, the specs, the recipe, library versions, and each shard's name, length and
SHA-256. A shard appears by rename when it is complete. The shards open with any Parquet reader.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.files import atomic_path, write_json
from zoovet.images import Trigger, trigger_from_json
from zoovet.networks import Networks, NetworkSpec

__all__ = ["COLUMNS", "FORMAT_VERSION", "ShardInfo", "Zoo", "ZooInfo", "write_shard"]

FORMAT_VERSION = 1

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
    "poisoned": pa.bool_(),
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
counts the optimizer steps of both. A healthy network's ``trigger``, ``target``, ``asr`` and ``ra`` are its poisoned
sibling's trigger and what that does to it; its ``poison_rate`` is 0.
"""

_REQUIRED = ("network_id", "base_id", "spec_id", "split")

_SPLITS = ("train", "validation", "test")


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


@dataclass(frozen=True, kw_only=True)
class ZooInfo:
    """The content of ``zoo.json``."""

    specs: dict[str, NetworkSpec]
    recipe: dict[str, Any]
    versions: dict[str, str]
    num_shards: int
    shards: tuple[ShardInfo, ...]

    @property
    def complete(self) -> bool:
        """Whether every shard is there."""
        return len(self.shards) == self.num_shards

    def write(self, folder: Path) -> None:
        """Write ``zoo.json`` atomically."""
        write_json(
            folder / "zoo.json",
            {
                "format_version": FORMAT_VERSION,
                "specs": {spec_id: spec.to_json() for spec_id, spec in self.specs.items()},
                "recipe": self.recipe,
                "versions": self.versions,
                "num_shards": self.num_shards,
                "shards": [vars(shard) for shard in self.shards],
            },
        )

    @classmethod
    def read(cls, folder: Path) -> ZooInfo:
        """Read ``zoo.json``.

        Raises:
            ZoovetError: It is missing, no JSON, of another format version, or lacks a key.
        """
        path = folder / "zoo.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ZoovetError(f"{folder} is not a zoo: it has no zoo.json; build one with `zoovet build`") from None
        except (OSError, ValueError) as error:
            raise ZoovetError(f"{path} cannot be read: {error}") from error
        if not isinstance(data, dict) or data.get("format_version") != FORMAT_VERSION:
            found = data.get("format_version") if isinstance(data, dict) else None
            raise ZoovetError(f"{path} has format version {found!r}; this zoovet reads {FORMAT_VERSION}")
        try:
            return cls(
                specs={spec_id: NetworkSpec.from_json(spec) for spec_id, spec in data["specs"].items()},
                recipe=data["recipe"],
                versions=data["versions"],
                num_shards=data["num_shards"],
                shards=tuple(ShardInfo(**shard) for shard in data["shards"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ZoovetError(f"{path} is not as zoovet writes it: {error!r}") from error


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


@dataclass(frozen=True)
class Zoo:
    """A stored population of networks, or some of its rows.

    Attributes:
        path: The zoo's folder.
        info: What ``zoo.json`` says.
        facts: Every column but the weights, as NumPy arrays of one length.
        positions: Which networks of the stored zoo these are, in order.
    """

    path: Path
    info: ZooInfo
    facts: dict[str, NDArray[Any]]
    positions: NDArray[np.int64]
    _stored: _StoredWeights = field(repr=False)

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = False) -> Zoo:
        """Open a zoo.

        Args:
            path: Its folder.
            verify: Also check every shard's SHA-256.

        Raises:
            ZoovetError: It is no zoo, incomplete, or a shard is missing, truncated, or not what was written; the
                message names the shard.
        """
        folder = Path(path)
        info = ZooInfo.read(folder)
        if not info.complete:
            raise ZoovetError(
                f"the zoo {folder} is not finished: {len(info.shards)} of {info.num_shards} shards are there; run the "
                f"same `zoovet build` again to finish it"
            )
        tables = [_read_facts(folder, shard, verify) for shard in info.shards]
        facts = {name: _to_numpy(pa.concat_tables(tables), name) for name in COLUMNS}
        num_networks = len(facts["network_id"])
        return cls(folder, info, facts, np.arange(num_networks), _StoredWeights(folder, info.shards))

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def specs(self) -> dict[str, NetworkSpec]:
        """The zoo's specs by their ``spec_id``."""
        return self.info.specs

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe it was built from."""
        return self.info.recipe

    @property
    def spec(self) -> NetworkSpec:
        """The spec of all these networks.

        Raises:
            ZoovetError: They have several.
        """
        present = sorted(set(self.column("spec_id")))
        if len(present) != 1:
            raise ZoovetError(f"the zoo {self.path} has networks of {len(present)} specs; use batches_by_spec()")
        return self.specs[present[0]]

    def column(self, name: str) -> NDArray[Any]:
        """A column as a NumPy array [n].

        Missing integers are −1, missing numbers NaN, missing texts ``None``; ``poisoned`` is false where it is missing.
        """
        if name not in self.facts:
            raise ZoovetError(f"a zoo has no column {name!r}{nearest(name, self.facts)}")
        return self.facts[name]

    def select(self, which: NDArray[Any] | Sequence[int]) -> Zoo:
        """The networks where a mask [n] is true, or those at given places."""
        index = np.asarray(which)
        if index.dtype == bool and len(index) != len(self):
            raise ZoovetError(f"a mask must have one entry a network: {len(self)}, got {len(index)}")
        if index.dtype != bool:
            index = index.astype(np.int64)
        facts = {name: column[index] for name, column in self.facts.items()}
        return Zoo(self.path, self.info, facts, self.positions[index], self._stored)

    def split(self, name: str) -> Zoo:
        """The networks of one split: ``train``, ``validation`` or ``test``."""
        if name not in _SPLITS:
            raise ZoovetError(f"split {name!r} is unknown{nearest(name, _SPLITS)}")
        return self.select(self.column("split") == name)

    def sample(self, count: int, generator: np.random.Generator | int = 0) -> Zoo:
        """Networks drawn without replacement; ``generator`` may be a seed."""
        if count > len(self):
            raise ZoovetError(f"cannot draw {count} networks: the zoo has {len(self)} here")
        drawn = np.random.default_rng(generator).choice(len(self), count, replace=False)
        return self.select(np.sort(drawn))

    def weights(self) -> Tensor:
        """Flat weights [n, P], float32, of networks that have equally many parameters."""
        return torch.from_numpy(self._stored.read(self.positions))

    def networks(self, which: NDArray[Any] | Sequence[int] | None = None) -> Networks:
        """The networks (or those at given places), which must be of one spec."""
        zoo = self if which is None else self.select(which)
        return Networks.from_flat(zoo.spec, zoo.weights())

    def batches_by_spec(
        self, which: NDArray[Any] | Sequence[int] | None = None
    ) -> list[tuple[Networks, NDArray[np.int64]]]:
        """The networks sorted by spec: for each spec its networks and their places in this zoo."""
        places = np.arange(len(self)) if which is None else np.asarray(which, dtype=np.int64)
        names = self.column("spec_id")[places]
        return [(self.networks(places[names == name]), places[names == name]) for name in sorted(set(names))]

    def trigger(self, place: int) -> Trigger | None:
        """The trigger of the network at a place (a healthy network's is its sibling's)."""
        text = self.column("trigger")[place]
        return None if text is None else trigger_from_json(json.loads(text))

    def sibling_places(self) -> NDArray[np.int64]:
        """For each network the place of its base's other descendant, or −1 where it is not here."""
        pairs: dict[tuple[int, bool], int] = {}
        bases, poisoned = self.column("base_id"), self.column("poisoned")
        for place in range(len(self)):
            pairs[int(bases[place]), bool(poisoned[place])] = place
        found = [pairs.get((int(bases[place]), not poisoned[place]), -1) for place in range(len(self))]
        return np.array(found, dtype=np.int64)


@dataclass(frozen=True)
class _StoredWeights:
    """The weights of the stored zoo, read shard by shard as they are asked for."""

    folder: Path
    shards: tuple[ShardInfo, ...]

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Flat weights [n, P] of the networks at these positions, which must have equally many parameters."""
        result: NDArray[np.float32] | None = None
        first = 0
        for shard in self.shards:
            wanted = np.flatnonzero((positions >= first) & (positions < first + shard.num_networks))
            if len(wanted):
                rows = _read_weights(self.folder / shard.name, positions[wanted] - first)
                if result is None:
                    result = np.empty((len(positions), rows.shape[1]), dtype=np.float32)
                if result.shape[1] != rows.shape[1]:
                    raise ZoovetError(
                        f"these networks of the zoo {self.folder} have {result.shape[1]} and {rows.shape[1]} "
                        f"parameters; use batches_by_spec()"
                    )
                result[wanted] = rows
            first += shard.num_networks
        return np.empty((0, 0), dtype=np.float32) if result is None else result


def _reading(path: Path, read: Any) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise ZoovetError(f"the shard {path} is missing; build the zoo again, or restore the file") from None
    except (OSError, pa.ArrowException) as error:
        raise ZoovetError(f"the shard {path} is damaged: {error}; remove it and run `zoovet build` again") from error


def _read_facts(folder: Path, shard: ShardInfo, verify: bool) -> pa.Table:
    path = folder / shard.name
    num_bytes = _reading(path, lambda: path.stat().st_size)
    remedy = "remove it and run `zoovet build` again"
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
    return table


def _read_columns(path: Path) -> pa.Table:
    present = set(pq.read_schema(path).names)
    return pq.read_table(path, columns=[name for name in COLUMNS if name in present])


def _read_weights(path: Path, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Flat weights [n, P] of some rows of a shard."""
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
