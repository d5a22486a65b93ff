"""One process a folder: a lock that lasts as long as its process, and tells others who holds it.

A hidden file, :data:`LOCK_NAME`, is locked by the kernel (``flock``), which frees it when the process ends, however it
ends. Where the kernel's lock does not reach, on a store that several machines share, the file's content says who works
there, and its time of change, which the holder renews, that this process still lives. The file goes when the work ends;
one that a killed process left behind is taken over by the next.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import platform
import stat
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.files import SECONDS_UNTIL_STALE, StorageError, require_writable_folder
from zoovet.printable import printable
from zoovet.processes import ProcessName, kernel_id

__all__ = ["LOCK_NAME", "FolderLock", "folder_lock", "require_free_folder"]

LOCK_NAME = ".zoovet.lock"

_RENEWAL_SECONDS = 15.0
_SETTLING_SECONDS = 0.5
"""By then who took the lock has said who it is.

Where the kernel has no lock to give, two that began together have both written by then; the last one holds.
"""

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_MOST_BYTES = 4096
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FolderLock:
    """Holds a folder until it is released, forgotten, or the process ends; :func:`folder_lock` does so for a block.

    Args:
        folder: Made where missing.
        doing: What is done to it, for those who come second: ``built``, ``trained``.

    Raises:
        ZoovetError: It cannot be written to, or another process holds it; the message says which, and since when.
    """

    def __init__(self, folder: Path, doing: str) -> None:
        require_writable_folder(folder)
        self._path = folder / LOCK_NAME
        self._handle, self._token = _acquire(self._path, doing)
        ended = threading.Event()
        renewal = threading.Thread(target=_renew, args=(self._handle, ended), daemon=True)
        renewal.start()
        self._release = weakref.finalize(self, _release, self._path, self._handle, self._token, ended, renewal)

    def require_held(self) -> None:
        """Check that the folder is still there and still ours.

        Raises:
            StorageError: It was removed, or another process took it over.
        """
        if not _is_same_file(self._handle, self._path):
            what = "its lock was" if self._path.parent.is_dir() else "it was"
            raise StorageError(f"cannot go on in {self._path.parent}: {what} removed meanwhile")
        if _record(self._handle).get("token") != self._token:
            raise StorageError(f"cannot go on in {self._path.parent}: it was taken over by {_holder(self._handle)}")

    def release(self) -> None:
        """Free the folder; a second time does nothing."""
        self._release()


@contextmanager
def folder_lock(folder: Path, doing: str) -> Iterator[FolderLock]:
    """Hold a folder while the block runs.

    Args:
        folder: Made where missing.
        doing: What is done to it, for those who come second: ``built``, ``trained``.

    Raises:
        ZoovetError: It cannot be written to, or another process holds it; the message says which, and since when.
    """
    lock = FolderLock(folder, doing)
    try:
        yield lock
    finally:
        lock.release()


def require_free_folder(folder: Path, doing: str) -> None:
    """Check that no other process holds a folder, before long work; where there is none, nothing is made.

    Raises:
        ZoovetError: As in :func:`folder_lock`.
    """
    if os.path.exists(folder / LOCK_NAME):
        with folder_lock(folder, doing):
            return


def _acquire(path: Path, doing: str) -> tuple[int, str]:
    """A handle of the lock's file, locked, and the token in its record."""
    while True:
        handle = _opened(path)
        try:
            token = _token_of_own(handle, path, doing)
        except BaseException:
            os.close(handle)
            raise
        if token is not None:
            return handle, token
        os.close(handle)


def _token_of_own(handle: int, path: Path, doing: str) -> str | None:
    """Take the lock: the token in its record, or ``None`` where the file went meanwhile."""
    has_kernel_lock = _take(handle, path)
    if has_kernel_lock is None or _held_elsewhere(handle, path.parent, has_kernel_lock):
        raise _busy(handle, path.parent, doing)
    if not _is_same_file(handle, path):  # its holder has just removed it
        return None
    token = _write_record(path)
    if token is not None and not has_kernel_lock:
        time.sleep(_SETTLING_SECONDS)
        if _record(handle).get("token") != token:
            raise _busy(handle, path.parent, doing)
    return token


def _busy(handle: int, folder: Path, doing: str) -> ZoovetError:
    return ZoovetError(f"{folder} is being {doing} by {_holder(handle)}; wait for it to end, or give another --out")


def _renew(handle: int, ended: threading.Event) -> None:
    while not ended.wait(_RENEWAL_SECONDS):
        try:
            os.utime(handle)
        except OSError:
            continue  # the holder finds out as it writes


def _release(path: Path, handle: int, token: str, ended: threading.Event, renewal: threading.Thread) -> None:
    """Remove the file, then free it: whoever has opened it meanwhile sees that it is no longer the folder's."""
    ended.set()
    renewal.join()
    if _is_same_file(handle, path) and _record(handle).get("token") == token:
        _unlink(path)
    os.close(handle)


def _opened(path: Path) -> int:
    """A handle of the lock's file, which is made where missing; for reading, so that it keeps no disk writable."""
    try:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CREAT | _FLAGS, 0o666)
        except PermissionError:  # another user's, in a folder where one's files are one's own
            handle = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError as error:
        raise ZoovetError(f"cannot lock {path.parent}: {path.name}: {error.strerror}; give another --out") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ZoovetError(f"cannot lock {path.parent}: {path.name} is no file; remove it, or give another --out")
    return handle


def _take(handle: int, path: Path) -> bool | None:
    """Whether the kernel gave its lock, ``None`` where another process has it, false where it has none to give."""
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            writable = os.open(path, os.O_RDWR | _FLAGS)  # NFS locks what may be written
            os.dup2(writable, handle, inheritable=False)
            os.close(writable)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise ZoovetError(f"cannot lock the folder: {error.strerror}; give another --out") from error
    return True


def _held_elsewhere(handle: int, folder: Path, has_kernel_lock: bool) -> bool:
    """Whether the record tells of a living process that the kernel's lock does not."""
    record = _record(handle)
    if record.get("kernel") == kernel_id():
        process = ProcessName.parse(str(record.get("process")))
        return not has_kernel_lock and process is not None and process.runs
    if not record or record.get("host") == platform.node():  # no record, or this machine before its restart
        return False
    with tempfile.TemporaryFile(dir=folder) as fresh:  # by the store's clock, not by ours
        now = os.fstat(fresh.fileno()).st_mtime
    return now - os.fstat(handle).st_mtime < SECONDS_UNTIL_STALE


def _write_record(path: Path) -> str | None:
    """Say who holds the lock; its token, or ``None`` where the file is another user's and was removed instead."""
    token = uuid.uuid4().hex
    record = {
        "process": str(ProcessName.own()),
        "pid": os.getpid(),
        "host": platform.node(),
        "kernel": kernel_id(),
        "user": _user(),
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "token": token,
    }
    try:
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC | _FLAGS)
        try:
            os.write(handle, json.dumps(record).encode())
        finally:
            os.close(handle)
    except OSError as error:
        if isinstance(error, PermissionError) and _unlink(path):
            return None
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return token


def _record(handle: int) -> dict[str, Any]:
    """What the lock's file says; nothing where its holder has not written yet."""
    try:
        record = json.loads(os.pread(handle, _MOST_BYTES, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _holder(handle: int) -> str:
    """Who holds the lock, in words: what its record says, which a moment after it was taken may not be there yet."""
    deadline = time.monotonic() + _SETTLING_SECONDS
    while not (record := _record(handle)) and time.monotonic() < deadline:
        time.sleep(_SETTLING_SECONDS / 20)
    if not record:
        since = datetime.fromtimestamp(os.fstat(handle).st_mtime).astimezone().isoformat(sep=" ", timespec="seconds")
        return f"a process that has not said which it is (it took {LOCK_NAME} at {since})"
    shown = {key: printable(str(record.get(key))) for key in ("pid", "host", "user", "since")}
    return f"process {shown['pid']} on {shown['host']} (user {shown['user']}) since {shown['since']}"


def _is_same_file(handle: int, path: Path) -> bool:
    try:
        found, own = path.lstat(), os.fstat(handle)
    except OSError:
        return False
    return (found.st_ino, found.st_dev) == (own.st_ino, own.st_dev)


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return str(os.getuid())
