"""From a zoo of SIRENs to the same zoo with canonical phases: shard by shard, resumable, in little memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoovet.errors import ZoovetError
from zoovet.files import are_one
from zoovet.networks import Networks
from zoovet.symmetry import canonicalize
from zoovet.zoo.growing_zoo import BuildProgress, ProgressCounter, growing_zoo
from zoovet.zoo.shard_content import first_difference
from zoovet.zoo.shard_label import MADE_FROM
from zoovet.zoo.shards import read_shard_rows
from zoovet.zoo.store import Zoo

__all__ = ["CANONICALIZED", "canonicalize_zoo"]

CANONICALIZED = ("canonicalized", MADE_FROM)
"""What a canonical zoo's recipe says beside its source's: ``true``, and a fingerprint of the source (SHA-256)."""


def canonicalize_zoo(
    source: Path | str,
    out: Path | str,
    *,
    progress: Callable[[BuildProgress], None] | None = None,
    repair: bool = False,
) -> Zoo:
    """Write a zoo whose networks have canonical phases, or finish one that was interrupted.

    Rows, facts, graphs and shards are those of the source, the weights those of
    :func:`zoovet.symmetry.canonicalize`. One shard is in memory at a time. A zoo that is canonical already gives the
    same weights again, bit for bit.

    Args:
        source: Folder of the zoo to read; its checksums are verified.
        out: The new zoo's folder; made where missing.
        progress: Called after every shard.
        repair: Make damaged shards of ``out`` again, which else are refused.

    Returns:
        The finished zoo.

    Raises:
        ZoovetError: A source that is no zoo, damaged, or has networks without sine layers; an ``out`` that is the
            source itself, cannot be written to, is held by another process, or holds something else, a zoo made from
            another source, or a damaged one.
        KeyboardInterrupt: Ctrl-C; whole shards are kept.
    """
    zoo, folder = Zoo.open(source, verify=True), Path(out)
    if are_one(folder, zoo.path):
        raise ZoovetError(f"--out {folder} is the zoo itself, which is never overwritten; give another --out")
    _require_sines(zoo)
    fingerprint = hashlib.sha256("".join(shard.sha256 for shard in zoo.info.shards).encode()).hexdigest()
    recipe = {**zoo.recipe, **dict(zip(CANONICALIZED, (True, fingerprint), strict=True))}
    ends = np.cumsum([shard.num_networks for shard in zoo.info.shards])

    def places(index: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.arange(ends[index] - zoo.info.shards[index].num_networks, ends[index])

    def mismatch(index: int, facts: Mapping[str, np.ndarray[Any, Any]]) -> str:
        names = ("base_id", "network_id", "split")
        return first_difference(facts, {name: zoo.column(name)[places(index)].tolist() for name in names})

    with growing_zoo(
        folder, graphs=zoo.graphs, recipe=recipe, num_shards=zoo.info.num_shards, mismatch=mismatch, repair=repair
    ) as growing:
        counter = ProgressCounter(growing.num_networks, len(zoo), progress)
        for index in growing.missing:
            counter.add(growing.write(index, _canonical_rows(zoo, index, places(index))).num_networks)
        return Zoo.open(folder)


def _require_sines(zoo: Zoo) -> None:
    """Refuse before anything is written what ``canonicalize`` would refuse on the way."""
    for graph_id in sorted(set(zoo.column("spec_id"))):
        graph = zoo.graphs[graph_id]
        try:
            canonicalize(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)))
        except ZoovetError as error:
            raise ZoovetError(f"{zoo.path}: {error}") from error


def _canonical_rows(zoo: Zoo, index: int, places: np.ndarray[Any, np.dtype[np.int64]]) -> list[dict[str, Any]]:
    """A shard's rows, as :func:`zoovet.zoo.store.write_shard` takes them; ``places`` are those of its networks."""
    rows = read_shard_rows(zoo.path / zoo.info.shards[index].name)
    for networks, own in zoo.batches_by_graph(places):
        for place, weights in zip(own, canonicalize(networks).flat().numpy(), strict=True):
            rows[place - places[0]]["weights"] = weights
    return rows
