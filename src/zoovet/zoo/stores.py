"""Zoos in buckets (``s3://BUCKET/ZOO``, ``gs://``, ``az://``), by fsspec: a folder here, in step with one there.

A file appears there by one request, so whole or not at all; ``zoo.json`` comes after the shards that it lists. Who
builds holds a lock: an object that is made only where there is none, where the store can promise that, renewed while
the build runs, and looked at before each write. One that is not renewed any more is taken over.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.fetching.buckets import PROTOCOLS, file_system, said_by
from zoovet.files import SECONDS_UNTIL_STALE, StorageError, atomic_path, require_writable_folder
from zoovet.folder_lock import LOCK_NAME
from zoovet.printable import printable
from zoovet.processes import ProcessName
from zoovet.user_cache import user_cache

__all__ = ["Store", "address_of", "held_store", "local_folder", "mirrored"]

_RENEWAL_SECONDS = 15.0
_SETTLING_SECONDS = 0.5
"""By then of two that took a lock in the same moment both have written; the last one holds."""

_ADDRESS = re.compile(rf"({'|'.join(PROTOCOLS)}):/+(.+)", re.DOTALL)
_CLOCK = ".zoovet.clock"
_OWN = re.compile(rf"zoo\.json|shard-\d{{5,}}\.parquet|{re.escape(LOCK_NAME)}|{re.escape(_CLOCK)}")


def address_of(place: Path | str) -> str | None:
    """The address that a place is, or ``None`` where it is a folder; a path has lost one of its slashes."""
    match = _ADDRESS.fullmatch(str(place))
    return None if match is None else f"{match[1]}://{match[2].strip('/')}"


def local_folder(place: Path | str, use: str) -> Path:
    """Where a zoo lies on this machine: the folder itself, or the one that is kept in step with an address.

    Args:
        place: A folder or an address.
        use: ``built`` or ``read``: what is built and what is read of one address do not disturb each other.
    """
    address = address_of(place)
    if address is None:
        return Path(place)
    name = re.sub(r"[^\w.-]+", "-", address)[-60:].strip("-.")
    return user_cache() / "zoos" / use / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"


class Store:
    """The files of a zoo at an address.

    Args:
        address: ``s3://BUCKET/ZOO``.
        folder: Where they lie on this machine.

    Raises:
        ZoovetError: The package for its protocol is not installed, or it names a bucket alone.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = address, folder
        self._system, place = file_system(address)
        self._root = place.rstrip("/")
        if "/" not in self._root:
            raise ZoovetError(f"{printable(address)} is a bucket; say where in it: {printable(address)}/NAME")
        self._token: str | None = None

    def names(self) -> dict[str, int]:
        """Names and sizes of the files there.

        Raises:
            ZoovetError: It holds something else, or cannot be read.
        """
        with self._errors("read"):
            self._system.invalidate_cache()
            bucket = self._root.split("/")[0]
            self._system.ls(bucket, detail=False)  # else a bucket that is not there is an empty one
            found: dict[str, dict[str, Any]] = self._system.find(self._root, detail=True)
        below = {str(path).lstrip("/").removeprefix(f"{self._root}/"): info for path, info in found.items()}
        other = next((name for name in below if not _OWN.fullmatch(name)), None)
        if other is not None and "zoo.json" not in below:
            raise ZoovetError(f"{printable(self.address)} is not empty and holds no zoo; give another place")
        return {name: int(info.get("size") or 0) for name, info in below.items() if _OWN.fullmatch(name)}

    def pull(self) -> None:
        """Make the folder here what is there: ``zoo.json``, and shards that are not here as it lists them.

        Raises:
            ZoovetError: It cannot be read.
        """
        require_writable_folder(self.folder)
        there = [name for name in self.names() if name not in (LOCK_NAME, _CLOCK)]
        for path in self.folder.iterdir():
            if path.name not in there and _OWN.fullmatch(path.name) and path.name != LOCK_NAME and path.is_file():
                path.unlink()
        for name in sorted(there, reverse=True):  # zoo.json first
            if name == "zoo.json" or _digest(self.folder / name) != self._listed().get(name, ""):
                with self._errors("read"):
                    data = self._system.cat_file(f"{self._root}/{name}")
                with atomic_path(self.folder / name) as temporary:
                    temporary.write_bytes(data)

    def _listed(self) -> dict[str, str]:
        """Checksums of shards by ``zoo.json``, which whoever opens the zoo checks."""
        try:
            shards = json.loads((self.folder / "zoo.json").read_bytes())["shards"]
            return {str(shard["name"]): str(shard["sha256"]) for shard in shards}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def push(self, name: str) -> None:
        """Put a file of the folder there, whole or not at all.

        Raises:
            StorageError: The store does not take it, or another build took it over.
        """
        data = (self.folder / name).read_bytes()
        with self._errors("written"):
            self._require_held()
            self._system.pipe_file(f"{self._root}/{name}", data)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the store while the block runs.

        Raises:
            ZoovetError: Another build holds it, or it cannot be written to.
        """
        path, self._token = f"{self._root}/{LOCK_NAME}", uuid.uuid4().hex
        self._take(path)
        ended = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(path, ended), daemon=True)
        renewal.start()
        try:
            yield
        finally:
            ended.set()
            renewal.join()
            with suppress(Exception):  # it goes stale
                if self._record().get("token") == self._token:
                    self._system.rm_file(path)

    def _take(self, path: str) -> None:
        self.names()
        with self._errors("written"):
            while True:
                try:
                    self._system.pipe_file(path, self._own_record(), mode="create")
                    break
                except FileExistsError:
                    self._require_stale(path)
            time.sleep(_SETTLING_SECONDS)
            self._require_held()

    def _require_stale(self, path: str) -> None:
        """Remove a lock whose holder lives no more; refuse one whose holder does."""
        record = self._record()
        process = ProcessName.parse(str(record.get("process")))
        if process is not None and process.is_here:
            is_stale = not process.runs
        else:
            self._system.pipe_file(f"{self._root}/{_CLOCK}", b"")  # by the store's clock, not by ours
            now = self._system.modified(f"{self._root}/{_CLOCK}")
            self._system.rm_file(f"{self._root}/{_CLOCK}")
            is_stale = (now - self._system.modified(path)).total_seconds() > SECONDS_UNTIL_STALE
        if not is_stale:
            raise ZoovetError(
                f"{printable(self.address)} is being built by {_holder(record)}; wait for it to end, or give another "
                f"--out"
            )
        self._system.rm_file(path)

    def _require_held(self) -> None:
        if self._token is not None and (record := self._record()).get("token") != self._token:
            raise StorageError(f"cannot go on in {printable(self.address)}: it was taken over by {_holder(record)}")

    def _record(self) -> dict[str, Any]:
        try:
            found = json.loads(self._system.cat_file(f"{self._root}/{LOCK_NAME}"))
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _own_record(self) -> bytes:
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.getuid())
        who = {"process": str(ProcessName.own()), "pid": os.getpid(), "host": platform.node(), "user": user}
        return json.dumps({**who, "since": since, "token": self._token}).encode()

    def _renew(self, path: str, ended: threading.Event) -> None:
        record = self._own_record()
        while not ended.wait(_RENEWAL_SECONDS):
            with suppress(Exception):  # the holder finds out as it writes
                self._require_held()
                self._system.pipe_file(path, record)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Whatever the protocol's library raises, in one line."""
        try:
            yield
        except ZoovetError:
            raise
        except Exception as error:
            kind = StorageError if doing == "written" else ZoovetError
            raise kind(f"{printable(self.address)} cannot be {doing}: {said_by(error)}") from error


@contextmanager
def held_store(address: str) -> Iterator[Store]:
    """A store that is held while the block builds a zoo in it, its files brought here.

    Raises:
        ZoovetError: It cannot be read or written, or another build holds it.
    """
    store = Store(address, local_folder(address, "built"))
    with store.held():
        store.pull()
        yield store


def mirrored(address: str) -> Path:
    """A folder with the files of a zoo at an address, brought here where they are not yet.

    Raises:
        ZoovetError: It cannot be read, or there is no zoo.
    """
    store = Store(address, local_folder(address, "read"))
    if "zoo.json" not in store.names():
        raise ZoovetError(f"{printable(address)} is not a zoo: it has no zoo.json; build one with `zoovet build`")
    store.pull()
    return store.folder


def _digest(path: Path) -> str | None:
    """A file's SHA-256 in hexadecimal; ``None`` where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holder(record: dict[str, Any]) -> str:
    if not record:
        return "a process that does not say which it is"
    shown = {key: printable(str(record.get(key))) for key in ("pid", "host", "user", "since")}
    return f"process {shown['pid']} on {shown['host']} (user {shown['user']}) since {shown['since']}"
