"""Networks in files of any origin, one a file, with whatever is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from zoovet.errors import ZoovetError
from zoovet.fetching.weight_files import SUFFIXES
from zoovet.networks import Graph, Networks
from zoovet.printable import printable
from zoovet.zoo.importers.published import IMPORTED, UNKNOWN_IMAGES, ImportOptions
from zoovet.zoo.recipe_parts import SplitShares
from zoovet.zoo.shards import COLUMNS

__all__ = ["NetworkFiles", "networks_in_files", "weight_files"]

_SUFFIXES = (*SUFFIXES, ".model", ".npz")
"""How names of weight files end, where a folder is looked through for them."""

_OWN = ("network_id", "base_id", "spec_id", "split")
_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkFiles:
    """A :class:`zoovet.zoo.importers.published.PublishedZoo` of files.

    Attributes:
        folder: Where they lie.
        graphs: Their graphs by ``spec_id``.
        recipe: What ``zoo.json`` keeps.
        remarks: What people should know.
        facts: Every column of our format but the weights; null where nobody says it.
        read: What reads a file.
    """

    folder: Path
    graphs: dict[str, Graph]
    recipe: dict[str, Any]
    remarks: tuple[str, ...]
    facts: pa.Table
    read: Callable[[Path], Networks] = field(repr=False)

    @property
    def num_networks(self) -> int:
        """Networks in it."""
        return len(self.facts)

    def rows(self, first: int, last: int) -> list[dict[str, Any]]:
        """The networks at places first … last - 1, read file by file."""
        rows: list[dict[str, Any]] = self.facts.slice(first, last - first).to_pylist()
        for row in rows:
            networks = self.read(self.folder / row["source"])
            if networks.graph.graph_id != row["spec_id"]:
                raise ZoovetError(f"{printable(self.folder / row['source'])} changed while it was imported")
            row["weights"] = networks.flat()[0].float().numpy()
        return rows


def networks_in_files(
    layout: str,
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    options: ImportOptions,
    remarks: tuple[str, ...] = (),
) -> NetworkFiles:
    """The networks of a layout of files. Each file is read twice: now for its graph, later for its weights.

    Args:
        layout: The layout's name on the command line.
        folder: Where the files lie.
        rows: A network each: ``source``, its file's path in the folder, and any columns of our format that are known.
            ``base_id`` may be any value that its siblings share; ``split`` may be left out, of all or of none.
        options: How to import; ``read`` must be there.
        remarks: What people should know.

    Raises:
        ZoovetError: There are no files, one cannot be read, or a base is in two splits.
    """
    if options.read is None:
        raise ZoovetError(f"the layout {layout} needs to be told how files are read: ImportOptions(read=...)")
    graphs: dict[str, Graph] = {}
    graph_ids: list[str] = []
    for row in rows:
        graph = options.read(folder / row["source"]).graph
        graphs.setdefault(graph.graph_id, graph)
        graph_ids.append(graph.graph_id)
    bases = _numbered([row.get("base_id", row["source"]) for row in rows])
    splits, how = _splits(rows, bases, options.seed)
    columns: dict[str, Any] = {
        name: pa.array([row.get(name) for row in rows], kind)
        for name, kind in COLUMNS.items()
        if name not in _OWN and any(row.get(name) is not None for row in rows)
    }
    columns |= {"network_id": _ids(rows), "base_id": bases, "spec_id": graph_ids, "split": splits}
    if options.dataset is not None:
        columns["dataset"] = [row.get("dataset") or options.dataset for row in rows]
    digest = hashlib.sha256(repr([sorted(row.items()) for row in rows]).encode()).hexdigest()
    said: dict[str, Any] = {"kind": IMPORTED, "layout": layout, "dataset": options.dataset or UNKNOWN_IMAGES}
    grids = {graph.input_shape[-2:] for graph in graphs.values() if len(graph.input_shape) == 3}
    if len(grids) == 1:
        said["image_size"] = list(grids.pop())
    return NetworkFiles(
        folder=folder,
        graphs=graphs,
        recipe={**said, "min_asr": 0.0, "split": how, "source_sha256": digest},
        remarks=(*_counts(rows, graphs), *remarks),
        facts=pa.table(columns),
        read=options.read,
    )


def weight_files(folder: Path) -> list[str]:
    """Paths in the folder, of all files below it that look like weights, sorted.

    Raises:
        ZoovetError: It is no folder.
    """
    if not folder.is_dir():
        raise ZoovetError(f"{printable(folder)} does not exist or is no folder; give a folder of weight files")
    found = (path for path in folder.rglob("*") if path.name.lower().endswith(_SUFFIXES) and path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _numbered(values: Sequence[Any]) -> list[int]:
    """Each value's number, in the order in which they first occur."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(str(value), len(numbers)) for value in values]


def _ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    ids = [str(row.get("network_id") or row["source"]) for row in rows]
    for place, network_id in enumerate(ids):
        if (first := ids.index(network_id)) != place:
            shown = printable(network_id, 60)
            raise ZoovetError(f"networks {first} and {place} have one network_id, {shown}; each needs its own")
    return ids


def _splits(rows: Sequence[Mapping[str, Any]], bases: Sequence[int], seed: int) -> tuple[list[str], dict[str, Any]]:
    """Every row's split, and how it was made."""
    given = [row.get("split") for row in rows]
    if not any(given):
        shares = SplitShares()
        of_bases = shares.of_bases(max(bases) + 1, np.random.default_rng(seed))
        return [of_bases[base] for base in bases], {"protocol": "drawn by base", "shares": vars(shares), "seed": seed}
    found: dict[int, str] = {}
    for place, (row, base, name) in enumerate(zip(rows, bases, given, strict=True)):
        split = _SPLITS.get(str(name).strip().lower())
        if split is None:
            said = "has no split, though others have" if name is None else f"has the split '{printable(name, 30)}'"
            raise ZoovetError(f"{printable(row['source'])} (row {place}) {said}; expected train, validation or test")
        if found.setdefault(base, split) != split:
            raise ZoovetError(
                f"{printable(row['source'])} (row {place}) is in {split}, another network of its base in {found[base]}"
            )
    return [found[base] for base in bases], {"protocol": "as the source says"}


def _counts(rows: Sequence[Mapping[str, Any]], graphs: Mapping[str, Graph]) -> tuple[str, ...]:
    labels = [row.get("poisoned") for row in rows]
    known = f"{labels.count(True):,} trojaned, {labels.count(False):,} healthy, {labels.count(None):,} unknown"
    return (f"{len(rows):,} networks of {len(graphs)} graph{'s' * (len(graphs) > 1)}: {known}",)
