"""From a recipe to a zoo: shards built in parallel, by processes of one thread each, or on a device, resumable.

Every network is made from the recipe and its base's number alone, so it does not matter which process builds which
shard, or when: a build that was killed and started again ends with the same bytes as one that ran through. On a device
the draws are the same, but the last bits of the weights depend on it and on what is trained side by side.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoovet.errors import ZoovetError
from zoovet.processes import end_with_parent
from zoovet.zoo.builders import (
    Rebuilder,
    Recipe,
    builder_of,
    recipe_of,
    require_device_choice,
    side_by_side_builder_of,
)
from zoovet.zoo.growing_zoo import BuildProgress, ProgressCounter, growing_zoo
from zoovet.zoo.shard_label import ShardLabel
from zoovet.zoo.shards import ShardInfo, shard_names, write_shard
from zoovet.zoo.store import Zoo

__all__ = ["build_zoo", "rebuild_network"]

_POLL_SECONDS = 0.2


def build_zoo(
    recipe: Recipe,
    out: Path | str,
    *,
    workers: int = 1,
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
        out: Its folder; made where missing. An unfinished zoo of the same recipe is continued, a finished one opened.
        workers: Processes, of one thread each.
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
    _require_workers(recipe, workers, side_by_side)
    builder = builder_of(recipe, data_root)
    with growing_zoo(
        Path(out),
        specs=builder.specs,
        recipe=_recipe_json(recipe),
        num_shards=builder.num_shards,
        mismatch=builder.mismatch,
        repair=repair,
    ) as growing:
        if missing := growing.missing:
            if side_by_side is None:
                builder.prepare()
            counter = ProgressCounter(growing.num_networks, builder.num_networks, progress)
            work = _Work(recipe, growing.folder, data_root, side_by_side, builder.num_shards, growing.fingerprint)
            with _Crew(work, min(workers, len(missing)), missing) as crew:
                for event in crew.events():
                    if isinstance(event, ShardInfo):
                        growing.add(event)
                    else:
                        counter.add(event)
        return Zoo.open(growing.folder)


def _require_workers(recipe: Recipe, workers: int, side_by_side: str | None) -> None:
    """Check that there is one worker at least, and one alone where a device trains many networks side by side."""
    if workers < 1:
        raise ZoovetError(f"workers must be at least 1, got {workers}")
    if side_by_side is not None:
        require_device_choice(recipe, "cuda")
        if workers > 1:
            raise ZoovetError(
                f"workers must be 1 where networks are trained side by side, by one process, got {workers}; leave "
                f"--workers out"
            )


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


def _recipe_json(recipe: Recipe) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    result: dict[str, Any] = plain(asdict(recipe))
    if result.get("images") is None:  # a zoo of before there was this key keeps its bytes, and so do new ones like it
        result.pop("images", None)
    return result


@dataclass(frozen=True)
class _Work:
    """What the workers do: the arguments of :func:`build_zoo` that they need, and what labels their shards."""

    recipe: Recipe
    folder: Path
    data_root: Path | None
    side_by_side: str | None
    num_shards: int
    fingerprint: str

    def shards(
        self, indices: Iterator[int], finished: Callable[[int], None]
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Make the shards of these numbers: number and rows of each, as they get done."""
        if self.side_by_side is not None:
            torch.backends.cudnn.allow_tf32 = False  # convolutions in float32, as on processors
            builder = side_by_side_builder_of(self.recipe, self.data_root, self.side_by_side)
            yield from builder.build_shards(indices, finished)
        else:
            one_by_one = builder_of(self.recipe, self.data_root)
            for index in indices:
                yield index, one_by_one.build_shard(index, finished)


class _Crew:
    """The worker processes, and what they tell: finished networks, finished shards, errors."""

    def __init__(self, work: _Work, workers: int, shards: list[int]) -> None:
        context = multiprocessing.get_context("spawn")
        self._events: multiprocessing.Queue[Any] = context.Queue()
        self._num_shards = len(shards)
        self._tasks: multiprocessing.Queue[int | None] = context.Queue()
        for task in [*shards, *[None] * workers]:
            self._tasks.put(task)
        arguments = (work, self._tasks, self._events, os.getpid())
        self._processes = [context.Process(target=_worker, args=arguments, daemon=True) for _ in range(workers)]

    def __enter__(self) -> _Crew:
        threads = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"  # read by the workers' libraries when they start
        try:
            for process in self._processes:
                process.start()
        finally:
            if threads is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = threads
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def events(self) -> Any:
        """Yield finished networks (a count) and shards (a ShardInfo) until every shard is there."""
        remaining = self._num_shards
        while remaining:
            try:
                event = self._events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                self._require_alive()
                continue
            if isinstance(event, ZoovetError):
                raise event
            if isinstance(event, str):
                raise RuntimeError(f"a worker failed:\n{event}")
            remaining -= isinstance(event, ShardInfo)
            yield event

    def _require_alive(self) -> None:
        for process in self._processes:
            if process.exitcode not in (None, 0):
                raise ZoovetError(
                    f"a worker process was killed (exit code {process.exitcode}; out of memory?); whole shards are "
                    f"kept: run the same build again to finish, with fewer --workers if memory is short"
                )


def _worker(work: _Work, tasks: Any, events: Any, parent: int) -> None:
    """A worker: build shards until there are none left; it does not outlive its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # an ignored one is handed down, and the parent ends its workers so
    end_with_parent(parent)
    warnings.simplefilter("ignore", UserWarning)  # what there is to say of images and compiled code, the parent said
    torch.set_num_threads(1)
    names = list(shard_names(work.num_shards))
    try:
        for index, rows in work.shards(iter(tasks.get, None), events.put):
            label = ShardLabel(work.fingerprint, index)
            events.put(write_shard(work.folder / names[index], rows, label))
    except ZoovetError as error:
        events.put(error)
    except Exception:
        events.put(traceback.format_exc())
