"""A zoo on disk: a folder of Parquet shards, one row a network, and ``zoo.json``.

``zoo.json`` holds the format version, the graphs, the recipe, library versions, and each shard's name, length and
SHA-256. A shard appears by rename when it is complete. The shards open with any Parquet reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.files import write_json
from zoovet.images import Trigger, trigger_from_json
from zoovet.json_files import parse_json, read_json_object, shown_value, typed_value
from zoovet.networks import ZOO_SCALING, Graph, Networks
from zoovet.printable import printable
from zoovet.zoo.shard_label import ShardLabel, read_label, recipe_fingerprint
from zoovet.zoo.shards import (
    COLUMNS,
    LABELLED,
    ShardError,
    ShardInfo,
    read_shard_facts,
    read_shard_weights,
    shard_names,
    write_shard,
)
from zoovet.zoo.stores import address_of, mirrored

__all__ = ["COLUMNS", "FORMAT_VERSION", "ShardInfo", "Zoo", "ZooInfo", "shard_names", "write_shard"]

FORMAT_VERSION = 1

_TRAINED_ON_IMAGES = ("trojan", "generalization")
"""Kinds of recipes whose networks zoovet trains on images."""

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class ZooInfo:
    """The content of ``zoo.json``."""

    graphs: dict[str, Graph]
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
                "specs": {graph_id: graph.to_json() for graph_id, graph in self.graphs.items()},
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
            ZoovetError: It is missing, no JSON, of another format version, lacks a key, or has a value of another
                kind than zoovet writes.
        """
        path = folder / "zoo.json"
        data = read_json_object(
            path, missing=f"{folder} is not a zoo: it has no zoo.json; build one with `zoovet build`"
        )
        if data.get("format_version") != FORMAT_VERSION:
            found = shown_value(data.get("format_version"))
            raise ZoovetError(f"{path} has format version {found}; this zoovet reads {FORMAT_VERSION}")
        where = f"{path} is not as zoovet writes it"
        recipe, stored = typed_value(data, "recipe", dict, where), typed_value(data, "specs", dict, where)
        graphs = {graph_id: _graph_of(stored, graph_id, where) for graph_id in stored}
        if recipe.get("kind") in _TRAINED_ON_IMAGES:  # an earlier zoovet did not write what all of them read
            graphs = {
                graph_id: replace(graph, input_scaling=graph.input_scaling or ZOO_SCALING)
                for graph_id, graph in graphs.items()
            }
        num_shards = typed_value(data, "num_shards", int, where)
        return cls(
            graphs=graphs,
            recipe=recipe,
            versions=typed_value(data, "versions", dict, where),
            num_shards=num_shards,
            shards=_shards_of(typed_value(data, "shards", list, where), num_shards, where),
        )


def _graph_of(stored: dict[str, Any], graph_id: str, where: str) -> Graph:
    shown = f"{where}: the graph '{printable(graph_id)}'"
    try:
        return Graph.from_json(typed_value(stored, graph_id, dict, f"{where}: 'specs'"))
    except ZoovetError as error:
        raise ZoovetError(f"{shown}: {error}") from error


def _shards_of(entries: list[Any], num_shards: int, where: str) -> tuple[ShardInfo, ...]:
    """The shards that ``zoo.json`` lists, each once and no more than it says that there are."""
    shards = tuple(ShardInfo.from_json(entry, f"{where}: shard {index}") for index, entry in enumerate(entries))
    if len({shard.name for shard in shards}) < len(shards):
        raise ZoovetError(f"{where}: a shard is listed twice")
    if not len(shards) <= num_shards:
        raise ZoovetError(f"{where}: {len(shards)} shards are listed, and 'num_shards' is {num_shards}")
    return shards


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
    def open(cls, path: Path | str, *, verify: bool = False, finished_only: bool = False) -> Zoo:
        """Open a zoo.

        Args:
            path: Its folder, or its address in a bucket (``s3://BUCKET/ZOO``), from where its files are brought here.
            verify: Also check every shard's SHA-256, and that it is the shard of this zoo that belongs there.
            finished_only: Take the shards that are there of a zoo that is still built; by default it is refused.

        Raises:
            ZoovetError: It is no zoo, incomplete, or a shard is missing, truncated, or not what was written; the
                message names the shard.
        """
        address = address_of(path)
        folder = Path(path) if address is None else mirrored(address)
        info = ZooInfo.read(folder)
        if finished_only and not info.shards:
            raise ZoovetError(f"the zoo {folder} has no finished shard yet; wait for the first of {info.num_shards}")
        if not info.complete and not finished_only:
            raise ZoovetError(
                f"the zoo {folder} is not finished: {len(info.shards)} of {info.num_shards} shards are there; run the "
                f"same command again to finish it"
            )
        parts = [read_shard_facts(folder, shard, verify=verify) for shard in info.shards]
        if verify:
            _require_own_shards(folder, info)
        facts = {name: np.concatenate([part[name] for part in parts]) for name in (*COLUMNS, LABELLED)}
        if unknown := sorted(set(facts["spec_id"]) - set(info.graphs)):
            lacking = f"it lacks the graph {printable(unknown[0])} of a network"
            raise ZoovetError(f"{folder / 'zoo.json'} is damaged: {lacking}")
        num_networks = len(facts["network_id"])
        if verify and len(set(facts["network_id"])) < num_networks:
            raise ZoovetError(
                f"the zoo {folder} is damaged: a network is in two of its shards; run the command that made the zoo "
                f"again with --repair-zoo"
            )
        return cls(folder, info, facts, np.arange(num_networks), _StoredWeights(folder, info.shards))

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def graphs(self) -> dict[str, Graph]:
        """The zoo's graphs by their ``spec_id``."""
        return self.info.graphs

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe it was built from."""
        return self.info.recipe

    @property
    def graph(self) -> Graph:
        """The graph of all these networks.

        Raises:
            ZoovetError: They have several.
        """
        present = sorted(set(self.column("spec_id")))
        if len(present) != 1:
            raise ZoovetError(f"the zoo {self.path} has networks of {len(present)} graphs; use batches_by_graph()")
        return self.graphs[present[0]]

    def column(self, name: str) -> NDArray[Any]:
        """A column as a NumPy array [n].

        Missing integers are −1, missing numbers NaN, missing texts ``None``.

        Raises:
            ZoovetError: There is no such column; or ``poisoned`` is asked for, and of some networks it is not known.
        """
        if name not in COLUMNS:
            raise ZoovetError(f"a zoo has no column {name!r}{nearest(name, COLUMNS)}")
        if name == "poisoned" and not self.labelled.all():
            unknown = np.flatnonzero(~self.labelled)
            raise ZoovetError(
                f"the zoo {self.path} does not say of {len(unknown)} of {len(self)} networks whether they are "
                f"trojaned, {printable(self.facts['network_id'][unknown[0]])} first (poisoned is null); import it "
                "again with a table that says it, or without these"
            )
        return self.facts[name]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Of which networks it is known whether they are trojaned: bool [n]."""
        return self.facts[LABELLED]

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
        """The networks (or those at given places), which must be of one graph."""
        zoo = self if which is None else self.select(which)
        return Networks.from_flat(zoo.graph, zoo.weights())

    def batches_by_graph(
        self, which: NDArray[Any] | Sequence[int] | None = None
    ) -> list[tuple[Networks, NDArray[np.int64]]]:
        """The networks sorted by graph: for each graph its networks and their places in this zoo."""
        places = np.arange(len(self)) if which is None else np.asarray(which, dtype=np.int64)
        names = self.column("spec_id")[places]
        return [(self.networks(places[names == name]), places[names == name]) for name in sorted(set(names))]

    def trigger(self, place: int) -> Trigger | None:
        """The trigger of the network at a place (a healthy network's is its sibling's)."""
        text = self.column("trigger")[place]
        if text is None:
            return None
        return trigger_from_json(parse_json(text, f"the trigger of network {place} in {self.path}"))

    def sibling_places(self) -> NDArray[np.int64]:
        """For each network the place of its base's other descendant, or −1 where it is not here."""
        pairs: dict[tuple[int, bool], int] = {}
        bases, poisoned, labelled = self.column("base_id"), self.facts["poisoned"], self.labelled
        for place in np.flatnonzero(labelled).tolist():
            pairs[int(bases[place]), bool(poisoned[place])] = place
        found = [
            pairs.get((int(bases[place]), not poisoned[place]), -1) if labelled[place] else -1
            for place in range(len(self))
        ]
        return np.array(found, dtype=np.int64)


def _require_own_shards(folder: Path, info: ZooInfo) -> None:
    """Check that every shard that says where it belongs lies there: checksums do not tell where all were renewed."""
    recipe = recipe_fingerprint(info.recipe)
    labels = [read_label(folder / shard.name) for shard in info.shards]
    recipes = {label.recipe for label in labels if label is not None}
    if len(recipes) == 1 and recipes != {recipe}:
        raise ZoovetError(
            f"the zoo {folder} is damaged: the recipe in zoo.json is not that of its shards; run the command that made "
            f"the zoo again with --repair-zoo, or restore the file"
        )
    for shard, (index, label) in zip(info.shards, enumerate(labels), strict=True):
        if label is not None and label != ShardLabel(recipe, index):
            what = f"shard {label.index} of this zoo" if label.recipe == recipe else "a shard of another zoo"
            raise ShardError.of(folder / shard.name, f"is {what}")


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
                rows = read_shard_weights(self.folder / shard.name, positions[wanted] - first)
                if result is None:
                    result = np.empty((len(positions), rows.shape[1]), dtype=np.float32)
                if result.shape[1] != rows.shape[1]:
                    raise ZoovetError(
                        f"these networks of the zoo {self.folder} have {result.shape[1]} and {rows.shape[1]} "
                        f"parameters; use batches_by_graph()"
                    )
                result[wanted] = rows
            first += shard.num_networks
        return np.empty((0, 0), dtype=np.float32) if result is None else result
