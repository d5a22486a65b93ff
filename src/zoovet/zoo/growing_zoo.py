"""A zoo's folder while its shards are written: what is there, what is missing, and ``zoo.json`` in step with it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.files import require_writable_folder
from zoovet.networks import NetworkSpec
from zoovet.zoo.shards import ShardInfo, shard_names
from zoovet.zoo.store import ZooInfo

__all__ = ["BuildProgress", "GrowingZoo", "ProgressCounter"]


@dataclass(frozen=True)
class BuildProgress:
    """How far the making of a zoo is.

    Attributes:
        num_networks: Networks that are there: in whole shards, or finished but not yet written.
        num_found: How many of them were there before this start.
        total: Networks in the finished zoo.
        seconds: Since this start.
    """

    num_networks: int
    num_found: int
    total: int
    seconds: float

    @property
    def networks_per_second(self) -> float:
        """Rate since this start."""
        return (self.num_networks - self.num_found) / self.seconds if self.seconds > 0 else 0.0


class ProgressCounter:
    """Counts networks and tells the caller.

    Args:
        found: Networks that are there already.
        total: Networks in the finished zoo.
        progress: Whom to tell, at once and at every change.
    """

    def __init__(self, found: int, total: int, progress: Callable[[BuildProgress], None] | None) -> None:
        self._found, self._total, self._progress = found, total, progress
        self._done, self._start = found, time.monotonic()
        self.add(0)

    def add(self, count: int) -> None:
        """So many networks more are done."""
        self._done += count
        if self._progress is not None:
            self._progress(BuildProgress(self._done, self._found, self._total, time.monotonic() - self._start))


class GrowingZoo:
    """A zoo's folder, new or begun before by the same recipe.

    Args:
        folder: Made where missing.
        specs: Specs of the zoo's networks by their ``spec_id``.
        recipe: What ``zoo.json`` keeps of where the zoo comes from, in JSON values; that of a zoo that is there must be
            the same.
        num_shards: Shards of the finished zoo.

    Raises:
        ZoovetError: The folder cannot be written to, holds something else, or a zoo of another recipe.
    """

    def __init__(self, folder: Path, *, specs: dict[str, NetworkSpec], recipe: dict[str, Any], num_shards: int) -> None:
        self.folder = folder
        self._specs, self._recipe = specs, recipe
        self._names = list(shard_names(num_shards))
        _require_same_zoo(folder, recipe)
        self.remove_partial_files()
        there = [name for name in self._names if (folder / name).exists()]
        self._shards = {name: ShardInfo.of(folder / name) for name in there}
        self._write_info()

    @property
    def missing(self) -> list[int]:
        """Numbers of the shards that are not there."""
        return [index for index, name in enumerate(self._names) if name not in self._shards]

    @property
    def num_networks(self) -> int:
        """Networks in the shards that are there."""
        return sum(shard.num_networks for shard in self._shards.values())

    def path(self, index: int) -> Path:
        """Where a shard belongs."""
        return self.folder / self._names[index]

    def add(self, shard: ShardInfo) -> None:
        """Note a shard that was written to its place."""
        self._shards[shard.name] = shard
        self._write_info()

    def remove_partial_files(self) -> None:
        """Remove what writers that were killed had begun."""
        for partial in self.folder.glob(".*.partial"):
            partial.unlink(missing_ok=True)

    def _write_info(self) -> None:
        ZooInfo(
            specs=self._specs,
            recipe=self._recipe,
            versions=_versions(),
            num_shards=len(self._names),
            shards=tuple(self._shards[name] for name in self._names if name in self._shards),
        ).write(self.folder)


def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in ("numpy", "pyarrow", "torch", "zoovet")}
    return {"python": platform.python_version(), "machine": platform.machine(), **found}


def _require_same_zoo(folder: Path, recipe: dict[str, Any]) -> None:
    require_writable_folder(folder)
    if (folder / "zoo.json").exists():
        stored = ZooInfo.read(folder).recipe
        for key in {**stored, **recipe}:
            if stored.get(key) != recipe.get(key):
                raise ZoovetError(
                    f"{folder} holds a zoo of another recipe: {key} is {stored.get(key)!r} there, {recipe.get(key)!r} "
                    f"here; give another --out, or the same recipe to continue it"
                )
    elif any(folder.iterdir()):
        raise ZoovetError(f"{folder} is not empty and holds no zoo; give another --out")
