"""write_zoo: networks that are at hand in Python, and what is known of them, as a zoo."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoovet.errors import ZoovetError, nearest
from zoovet.networks import Graph, Networks
from zoovet.zoo.importers.published import IMPORTED, UNKNOWN_IMAGES
from zoovet.zoo.importers.writer import import_zoo
from zoovet.zoo.recipe_parts import SplitShares
from zoovet.zoo.shards import COLUMNS
from zoovet.zoo.store import Zoo

__all__ = ["write_zoo"]


def write_zoo(
    path: Path | str,
    networks: Networks | Sequence[Networks],
    columns: Mapping[str, Sequence[Any]] | None = None,
    *,
    dataset: str = UNKNOWN_IMAGES,
    seed: int = 0,
) -> Zoo:
    """Write networks as a zoo.

    Args:
        path: The zoo's folder; made where missing.
        networks: N networks, in batches of one graph each.
        columns: What is known of them: any of :data:`~zoovet.zoo.COLUMNS`, N values each, ``None`` where a value is not
            known. Without ``network_id`` they are numbered, without ``base_id`` each is a base of its own, without
            ``split`` bases are drawn: 70 % train, 10 % validation, 20 % test.
        dataset: Name of the images that they were trained on.
        seed: Of the split, where it is drawn.

    Returns:
        The zoo, opened.

    Raises:
        ZoovetError: An unknown column, one of another length or with values of another kind, a base in two splits, or a
            folder that holds something else.
    """
    batches = [networks] if isinstance(networks, Networks) else list(networks)
    given = _Given(batches, _facts(batches, columns or {}, seed), dataset)
    return import_zoo(given, path)


@dataclass(frozen=True, eq=False)
class _Given:
    """A :class:`zoovet.zoo.importers.published.PublishedZoo` of networks in memory."""

    batches: list[Networks]
    facts: pa.Table
    dataset: str

    @property
    def graphs(self) -> dict[str, Graph]:
        return {batch.graph.graph_id: batch.graph for batch in self.batches}

    @property
    def recipe(self) -> dict[str, Any]:
        digest = hashlib.sha256(repr(self.facts.to_pydict()).encode())
        for batch in self.batches:
            digest.update(batch.flat().float().cpu().numpy().tobytes())
        said = {"kind": IMPORTED, "layout": "python", "dataset": self.dataset, "min_asr": 0.0}
        return {**said, "source_sha256": digest.hexdigest()}

    @property
    def num_networks(self) -> int:
        return len(self.facts)

    @property
    def remarks(self) -> tuple[str, ...]:
        return ()

    def rows(self, first: int, last: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.facts.slice(first, last - first).to_pylist()
        start = 0
        for batch in self.batches:
            some = range(max(first, start), min(last, start + len(batch)))
            if len(some):
                flat: NDArray[np.float32] = batch[some.start - start : some.stop - start].flat().float().cpu().numpy()
                for place, weights in zip(some, flat, strict=True):
                    rows[place - first]["weights"] = weights
            start += len(batch)
        return rows


def _facts(batches: Sequence[Networks], columns: Mapping[str, Sequence[Any]], seed: int) -> pa.Table:
    """Every column but the weights."""
    count = sum(len(batch) for batch in batches)
    if count == 0:
        raise ZoovetError("a zoo needs networks, got none")
    arrays: dict[str, pa.Array] = {}
    for name, values in columns.items():
        if name not in COLUMNS or name == "spec_id":
            raise ZoovetError(f"{name!r} is no column of a zoo that can be given{nearest(name, COLUMNS)}")
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        if len(plain) != count:
            raise ZoovetError(f"the column {name!r} has {len(plain)} values, but there are {count} networks")
        try:
            arrays[name] = pa.array(plain, COLUMNS[name])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ZoovetError(f"the column {name!r} must hold {COLUMNS[name]} or None: {error}") from None
    arrays.setdefault("network_id", pa.array([f"{place:05d}" for place in range(count)]))
    arrays.setdefault("base_id", pa.array(range(count), pa.int64()))
    if "split" not in arrays:
        bases = arrays["base_id"].to_pylist()
        distinct = {base: number for number, base in enumerate(dict.fromkeys(bases))}
        drawn = SplitShares().of_bases(len(distinct), np.random.default_rng(seed))
        arrays["split"] = pa.array([drawn[distinct[base]] for base in bases])
    _check(arrays)
    arrays["spec_id"] = pa.array([batch.graph.graph_id for batch in batches for _ in range(len(batch))])
    return pa.table(arrays)


def _check(arrays: Mapping[str, pa.Array]) -> None:
    for name in ("network_id", "base_id", "split"):
        if arrays[name].null_count:
            raise ZoovetError(f"the column {name!r} must say something of every network, one is None")
    if len(set(ids := arrays["network_id"].to_pylist())) < len(ids):
        raise ZoovetError("two networks have one network_id; each needs its own")
    split_of: dict[int, str] = {}
    for base, split in zip(arrays["base_id"].to_pylist(), arrays["split"].to_pylist(), strict=True):
        if split not in ("train", "validation", "test"):
            raise ZoovetError(f"split must be train, validation or test, got {split!r}")
        if split_of.setdefault(base, split) != split:
            raise ZoovetError(f"the base {base} is in {split_of[base]} and in {split}; all its networks are in one")
