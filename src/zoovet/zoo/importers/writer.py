"""From a published dataset to a zoo: shard by shard, resumable, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from zoovet.zoo.growing_zoo import BuildProgress, ProgressCounter, growing_zoo
from zoovet.zoo.importers.published import PublishedZoo
from zoovet.zoo.shard_content import first_difference
from zoovet.zoo.store import Zoo

__all__ = ["import_zoo"]

_SHARD_BYTES = 32 * 2**20


def import_zoo(
    published: PublishedZoo,
    out: Path | str,
    *,
    progress: Callable[[BuildProgress], None] | None = None,
    shard_bytes: int = _SHARD_BYTES,
    repair: bool = False,
) -> Zoo:
    """Write a published dataset as a zoo, or finish one that was interrupted.

    One shard is in memory at a time. What is written follows from the dataset and the options alone: an import that was
    killed and started again ends with the same bytes as one that ran through.

    Args:
        published: The dataset, from :func:`zoovet.zoo.importers.open_published`.
        out: The zoo's folder; made where missing.
        progress: Called after every shard.
        shard_bytes: Bytes of weights in a shard, about.
        repair: Make damaged shards again, which else are refused.

    Returns:
        The finished zoo.

    Raises:
        ZoovetError: ``out`` cannot be written to, is held by another process, or holds something else or a damaged
            zoo; or weights are damaged. Whole shards stay.
        KeyboardInterrupt: Ctrl-C; whole shards are kept.
    """
    num_parameters = max(graph.num_parameters for graph in published.graphs.values())
    size = max(1, shard_bytes // (4 * num_parameters))
    num_shards = -(-published.num_networks // size)

    def mismatch(index: int, facts: Mapping[str, NDArray[Any]]) -> str:
        own = published.facts.slice(index * size, size)
        return first_difference(facts, {name: own[name].to_pylist() for name in ("base_id", "network_id")})

    with growing_zoo(
        Path(out),
        graphs=published.graphs,
        recipe=published.recipe,
        num_shards=num_shards,
        mismatch=mismatch,
        repair=repair,
    ) as growing:
        counter = ProgressCounter(growing.num_networks, published.num_networks, progress)
        for index in growing.missing:
            last = min((index + 1) * size, published.num_networks)
            counter.add(growing.write(index, published.rows(index * size, last)).num_networks)
        return Zoo.open(growing.folder)
