"""A zoo's folder while its shards are written: what is there, what is missing, and ``zoo.json`` in step with it.

One process holds the folder. Every shard that it finds is checked before it is kept, so that damage is never written
into ``zoo.json`` as if it had been meant.
"""

from __future__ import annotations

import itertools
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from zoovet.config import dotted
from zoovet.errors import ZoovetError
from zoovet.files import StorageError, is_partial, remove_dead_partials, require_writable_folder
from zoovet.folder_lock import LOCK_NAME, FolderLock, folder_lock
from zoovet.json_files import shown_value
from zoovet.networks import Graph
from zoovet.printable import printable
from zoovet.zoo.shard_check import CheckedShard, Mismatch, check_shard
from zoovet.zoo.shard_label import ShardLabel, label_of, recipe_fingerprint
from zoovet.zoo.shards import ShardError, ShardInfo, read_shard_bytes, shard_bytes, shard_names, write_shard_bytes
from zoovet.zoo.store import ZooInfo
from zoovet.zoo.stores import Store

__all__ = ["BuildProgress", "GrowingZoo", "ProgressCounter", "growing_zoo"]


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


_ASIDE = ".aside-"
"""Between the name that a folder had and a number, where it lay in a file's place."""

_UNKNOWN_SHARDS = (
    "not all of its shards say that they are of this recipe, as an earlier zoovet's do not; restore zoo.json, or give "
    "another --out"
)


def _no_mismatch(index: int, facts: Mapping[str, NDArray[Any]]) -> str:
    return ""


class GrowingZoo:
    """A zoo's folder, new or begun before by the same recipe; who writes into it holds it: see :func:`growing_zoo`.

    Args:
        folder: Made where missing.
        graphs: Graphs of the zoo's networks by their ``spec_id``.
        recipe: What ``zoo.json`` keeps of where the zoo comes from, in JSON values; that of a zoo that is there must be
            the same.
        num_shards: Shards of the finished zoo.
        mismatch: What in a stored shard's columns cannot be of that shard; without, its checksum alone is checked.
        repair: Remove damaged shards, so that they are missing, which else are refused.
        lock: What holds the folder.
        store: What the folder is kept in step with.

    Raises:
        ZoovetError: The folder cannot be written to, or holds something else, a zoo of another recipe, or a damaged
            one; nothing was changed then.
    """

    def __init__(
        self,
        folder: Path,
        *,
        graphs: dict[str, Graph],
        recipe: dict[str, Any],
        num_shards: int,
        mismatch: Mismatch = _no_mismatch,
        repair: bool = False,
        lock: FolderLock | None = None,
        store: Store | None = None,
    ) -> None:
        self.folder = folder
        self._graphs, self._lock, self._store = graphs, lock, store
        self._names = list(shard_names(num_shards))
        _require_new_or_zoo(folder, self._names)
        require_writable_folder(folder)
        stored = _stored_zoo(folder, recipe, self._names, may_be_damaged=repair)
        self._recipe = recipe if stored is None else stored.recipe
        self.fingerprint = recipe_fingerprint(self._recipe)
        listed = {} if stored is None else {shard.name: shard for shard in stored.shards}
        found = {
            name: check_shard(folder / name, listed.get(name), ShardLabel(self.fingerprint, index), mismatch)
            for index, name in enumerate(self._names)
        }
        faults = {name: shard.fault for name, shard in found.items() if shard.fault}
        self._require_repairable(stored, found, faults, repair=repair)
        for name in faults:
            _make_room(folder / name)
        self._shards = {name: shard.info for name, shard in found.items() if shard.info is not None}
        if stored is None or self._shards != listed:
            if (folder / "zoo.json").is_dir():
                _make_room(folder / "zoo.json")
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

    def write(self, index: int, rows: Sequence[dict[str, Any]]) -> ShardInfo:
        """Write a shard to its place, and note it."""
        return self.keep(index, shard_bytes(rows, self.label(index)))

    def label(self, index: int) -> ShardLabel:
        """What a shard says of itself."""
        return ShardLabel(self.fingerprint, index)

    def keep(self, index: int, data: bytes) -> ShardInfo:
        """Write a shard to its place, as :func:`~zoovet.zoo.shards.shard_bytes` gave it, and note it."""
        shard = write_shard_bytes(self.path(index), data)
        if self._store is not None:
            self._store.push(shard.name)
        self.add(shard)
        return shard

    def add(self, shard: ShardInfo) -> None:
        """Note a shard that was written to its place.

        Raises:
            StorageError: The folder is gone or another process's, or ``zoo.json`` cannot be written.
        """
        if self._lock is not None:
            self._lock.require_held()
        self._shards[shard.name] = shard
        self._write_info()

    def _require_repairable(
        self, stored: ZooInfo | None, found: dict[str, CheckedShard], faults: dict[str, str], *, repair: bool
    ) -> None:
        """Refuse what is damaged where it is not to be repaired, and what may be another's zoo in any case."""
        if faults and not repair:
            name, fault = next(iter(faults.items()))
            more = {1: "", 2: " (and another one is damaged)"}.get(
                len(faults), f" (and {len(faults) - 1} others are damaged)"
            )
            raise ZoovetError(
                f"the zoo {self.folder} is damaged: {name} {fault}{more}; give --repair-zoo to make again what is "
                f"damaged, or restore it"
            )
        has_shards = any(os.path.lexists(self.folder / name) for name in self._names)
        labels = [shard.label for shard in found.values()]
        if stored is None and has_shards and not _are_of_recipe(labels, self.fingerprint):
            raise ZoovetError(f"{self.folder} has no readable zoo.json, and {_UNKNOWN_SHARDS}")

    def _write_info(self) -> None:
        ZooInfo(
            graphs=self._graphs,
            recipe=self._recipe,
            versions=_versions(),
            num_shards=len(self._names),
            shards=tuple(self._shards[name] for name in self._names if name in self._shards),
        ).write(self.folder)
        if self._store is not None:
            self._store.push("zoo.json")


@contextmanager
def growing_zoo(
    folder: Path,
    *,
    graphs: dict[str, Graph],
    recipe: dict[str, Any],
    num_shards: int,
    mismatch: Mismatch,
    repair: bool = False,
    store: Store | None = None,
) -> Iterator[GrowingZoo]:
    """Hold a zoo's folder while the block writes its shards; see :class:`GrowingZoo`.

    Raises:
        ZoovetError: As there, or another process holds the folder.
    """
    _require_new_or_zoo(folder, shard_names(num_shards))
    with folder_lock(folder, "built") as lock:
        remove_dead_partials(folder)
        try:
            yield GrowingZoo(
                folder,
                graphs=graphs,
                recipe=recipe,
                num_shards=num_shards,
                mismatch=mismatch,
                repair=repair,
                lock=lock,
                store=store,
            )
        finally:
            remove_dead_partials(folder)


def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in ("numpy", "pyarrow", "torch", "zoovet")}
    return {"python": platform.python_version(), "machine": platform.machine(), **found}


def _require_new_or_zoo(folder: Path, shards: Iterable[str]) -> None:
    """Check that a folder is missing, empty, or a zoo's: begun by a build that may have been killed at once."""
    if not os.path.isdir(folder) or os.path.lexists(folder / "zoo.json"):
        return
    own = {LOCK_NAME, *shards}
    if any(path.name not in own and not is_partial(path) and _ASIDE not in path.name for path in folder.iterdir()):
        raise ZoovetError(f"{folder} is not empty and holds no zoo; give another --out")


def _stored_zoo(folder: Path, recipe: dict[str, Any], names: Sequence[str], *, may_be_damaged: bool) -> ZooInfo | None:
    """What ``zoo.json`` says; ``None`` where there is none, or it is damaged and may be.

    Raises:
        ZoovetError: It is of another recipe, or damaged.
    """
    try:
        if not os.path.lexists(folder / "zoo.json"):
            if any(os.path.lexists(folder / name) for name in names):
                raise ZoovetError(f"the zoo {folder} has shards, but no zoo.json")
            return None
        stored = ZooInfo.read(folder)
    except ZoovetError as error:
        if may_be_damaged:
            return None
        labels = _labels_in(folder, names)
        if labels and not _are_of_recipe(labels, recipe_fingerprint(recipe)):
            raise ZoovetError(f"{error}; {_UNKNOWN_SHARDS}") from error
        raise ZoovetError(f"{error}; give --repair-zoo to write it anew from the shards, or another --out") from error
    there, here = dotted(stored.recipe), dotted(recipe)
    for key in {**there, **here}:
        if there.get(key) != here.get(key):
            differs = f"{printable(key)} is {shown_value(there.get(key))} there, {shown_value(here.get(key))} here"
            own = recipe_fingerprint(recipe)
            if own == recipe_fingerprint(stored.recipe) or not _are_of_recipe(_labels_in(folder, names), own):
                raise ZoovetError(
                    f"{folder} holds a zoo of another recipe: {differs}; give another --out, or the same recipe to "
                    f"continue it"
                )
            if may_be_damaged:
                return None
            raise ZoovetError(
                f"{folder / 'zoo.json'} is damaged: its shards are of this recipe, and {differs}; give --repair-zoo to "
                f"write it anew from the shards"
            )
    if stored.num_shards == len(names) and {shard.name for shard in stored.shards} <= set(names):
        return stored
    if may_be_damaged:
        return None
    raise ZoovetError(
        f"{folder / 'zoo.json'} is damaged: it tells of {stored.num_shards} shards, its recipe of {len(names)}; give "
        f"--repair-zoo to write it anew from the shards, or another --out"
    )


def _are_of_recipe(labels: Iterable[ShardLabel | None], fingerprint: str) -> bool:
    """Whether one shard at least says of which recipe it is, and all that say it are of this one."""
    recipes = {label.recipe for label in labels if label is not None}
    return recipes == {fingerprint}


def _labels_in(folder: Path, names: Iterable[str]) -> list[ShardLabel | None]:
    """What the shards that are there say of themselves."""
    return [_label_in(folder / name) for name in names if os.path.lexists(folder / name)]


def _label_in(path: Path) -> ShardLabel | None:
    """What a shard says of itself; ``None`` where it says nothing, or cannot be read."""
    try:
        return label_of(read_shard_bytes(path))[0]
    except ShardError:
        return None


def _make_room(path: Path) -> None:
    """Remove what is to be made again; a folder, which nobody of ours put there, is moved aside, and said so."""
    try:
        if not path.is_dir() or path.is_symlink():
            path.unlink()
            return
        aside = next(
            place
            for place in (path.with_name(f"{path.name}{_ASIDE}{number}") for number in itertools.count(1))
            if not os.path.lexists(place)
        )
        path.rename(aside)
        warnings.warn(f"the folder {path} lay where a file of the zoo belongs; it is now {aside}", stacklevel=2)
    except OSError as error:
        raise StorageError(f"cannot remove the damaged {path}: {error.strerror}") from error
