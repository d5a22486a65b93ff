"""From a recipe to a zoo: shards built in parallel, by processes of one thread each, or on a device, resumable.

Every network is made from the recipe and its base's number alone, so it does not matter which process builds which
shard, or when: a build that was killed and started again ends with the same bytes as one that ran through. On a device
the draws are the same, but the last bits of the weights depend on it and on what is trained side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.jobs import Crew, Processes, Runner, no_others, results
from zoovet.zoo.builders import Rebuilder, Recipe, builder_of, recipe_of, require_device_choice
from zoovet.zoo.growing_zoo import BuildProgress, GrowingZoo, ProgressCounter, growing_zoo
from zoovet.zoo.park.recipe import ParkRecipe
from zoovet.zoo.shard_work import Finished, MadeShard, Shards, ShardWork
from zoovet.zoo.store import Zoo
from zoovet.zoo.stores import Store, address_of, held_store

__all__ = ["build_zoo", "rebuild_network", "recipe_json"]


def build_zoo(
    recipe: Recipe,
    out: Path | str,
    *,
    workers: int = 1,
    runner: Runner | None = None,
    side_by_side: str | None = None,
    data_root: Path | None = None,
    progress: Callable[[BuildProgress], None] | None = None,
    repair: bool = False,
) -> Zoo:
    """Build a zoo, or finish one that was interrupted.

    What lies in its folder is kept where it is what was written and what belongs there: every shard's checksum, and the
    bases that it must hold, are checked first.

    Args:
        recipe: What it should hold.
        out: Its folder, made where missing, or its address in a bucket (``s3://BUCKET/ZOO``). An unfinished zoo of the
            same recipe is continued, a finished one opened.
        workers: Processes, of one thread each.
        runner: Where shards are made instead: a cluster.
        side_by_side: The torch device on which one process trains hundreds of networks side by side (``cuda``; for
            trials ``cpu``); without, networks are trained one after another on processors, in compiled code.
        data_root: Where image datasets lie.
        progress: Called as networks get done, in this process.
        repair: Make damaged shards again, which else are refused.

    Returns:
        The finished zoo.

    Raises:
        ZoovetError: ``out`` cannot be written to, is held by another process, holds something else, a zoo of another
            recipe or a damaged one, the recipe cannot be met or is of a kind that cannot be built side by side, or
            several workers are to share a device.
        KeyboardInterrupt: Ctrl-C; whole shards are kept.
    """
    runner = _runner(recipe, runner or Processes(workers), side_by_side)
    builder = builder_of(recipe, data_root)
    with (
        _store_at(out) as store,
        growing_zoo(
            Path(out) if store is None else store.folder,
            graphs=builder.graphs,
            recipe=recipe_json(recipe),
            num_shards=builder.num_shards,
            mismatch=builder.mismatch,
            repair=repair,
            store=store,
        ) as growing,
    ):
        if missing := growing.missing:
            if side_by_side is None:
                builder.prepare()
            counter = ProgressCounter(growing.num_networks, builder.num_networks, progress)
            work = ShardWork(recipe, data_root, side_by_side, growing.fingerprint)
            jobs = [Shards(tuple(missing))] if side_by_side else [Shards((index,)) for index in missing]
            with runner.crew(work) as crew:
                _build(crew, jobs, growing, counter)
        return Zoo.open(growing.folder)


@contextmanager
def _store_at(out: Path | str) -> Iterator[Store | None]:
    """The store of an address, held; ``None`` where the zoo lies in a folder."""
    address = address_of(out)
    if address is None:
        yield None
        return
    with held_store(address) as store:
        yield store


def _runner(recipe: Recipe, runner: Runner, side_by_side: str | None) -> Runner:
    """Check that there is one worker alone where a device trains many networks side by side."""
    if side_by_side is not None:
        require_device_choice(recipe, "cuda")
        if runner.num_workers > 1:
            raise ZoovetError(
                f"workers must be 1 where networks are trained side by side, by one process, got {runner.num_workers}; "
                f"leave --workers out"
            )
    return runner


def _build(crew: Crew[Shards, None], jobs: Sequence[Shards], growing: GrowingZoo, counter: ProgressCounter) -> None:
    """Have shards made, keep each as it comes, and count networks; those of a worker that was lost are made again."""
    unkept = Counter[Shards]()

    def hear(said: Finished | MadeShard) -> None:
        if isinstance(said, Finished):
            counter.add(said.num_networks)
            unkept[said.job] += said.num_networks
        else:
            unkept[said.job] -= growing.keep(said.index, said.data).num_networks

    def again(job: Shards, num_deaths: int) -> list[Shards]:
        counter.add(-unkept.pop(job, 0))
        left = tuple(index for index in growing.missing if index in job.indices)
        rest = job if left == job.indices else Shards(left)
        return [rest for one in no_others(job, num_deaths) if left]

    remedy = "whole shards are kept: run the same build again to finish, with fewer --workers if memory is short"
    for _ in results(crew.outcomes(jobs, tell=hear, instead=again), remedy):
        continue


def rebuild_network(zoo: Zoo, place: int, data_root: Path | None = None) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Train a zoo's network again from its row: flat weights [P], the same as stored (on the same kind of machine).

    Raises:
        ZoovetError: The zoo's recipe is of no known kind or its dataset is not there; or networks of its kind are made
            many at once, so that none follows from its row alone.
    """
    builder = builder_of(recipe_of(zoo.recipe), data_root)
    if not isinstance(builder, Rebuilder):
        raise ZoovetError(f"networks of a zoo of kind {zoo.recipe['kind']!r} cannot be made again one by one")
    return builder.rebuild(zoo, place)


def recipe_json(recipe: Recipe) -> dict[str, Any]:
    """What ``zoo.json`` keeps of a recipe."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    result: dict[str, Any] = plain(asdict(recipe))
    # Zoos of before there were some keys keep their bytes, and so do new ones that do not use these.
    if result.get("images") is None:
        result.pop("images", None)
    if isinstance(recipe, ParkRecipe):
        for name in recipe.training.unused_later_keys():
            del result["training"][name]
    return result
