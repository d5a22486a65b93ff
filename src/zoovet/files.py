"""Writing files so that what is there is whole: to a temporary name first, then by rename."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.processes import ProcessName

__all__ = [
    "SECONDS_UNTIL_STALE",
    "StorageError",
    "are_one",
    "atomic_path",
    "is_partial",
    "place_of",
    "remove_dead_partials",
    "require_writable_folder",
    "storage_errors",
    "storage_fault",
    "write_json",
    "write_text",
]

SECONDS_UNTIL_STALE = 120.0
"""A file of another machine's process that was not touched for so long is taken for left behind."""

_SUFFIX = ".partial"
_DISK_FAULTS = frozenset({errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENODEV, errno.ENOSPC, errno.EROFS, errno.ESTALE})
"""What keeps any file from being written and is no defect of ours: full, read-only, broken."""

_PLACE_FAULTS = frozenset({errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.EPERM})
"""The same where it is about the folder that is written into: vanished, forbidden."""

_ERRNO_IN_TEXT = re.compile(r"\((?:os error|errno) (\d+)\)|\[errno (\d+)\]", re.IGNORECASE)
"""How libraries that are not written in Python tell which error of the system they met."""


class StorageError(ZoovetError):
    """A file could not be written: the disk is full or read-only, a folder is gone. What was there before still is."""


def storage_fault(error: BaseException, folder: Path) -> str | None:
    """Why the storage did not take a file, in the system's words; ``None`` where an error is about something else.

    Args:
        error: What was raised while files were written, by Python or by a library.
        folder: Where they were written.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := _ERRNO_IN_TEXT.search(str(error))):
        number = int(match[1] or match[2])
    if number is None:
        return None
    name = error.filename if isinstance(error, OSError) else None
    is_there = isinstance(name, str | bytes) and Path(os.fsdecode(name)).absolute().is_relative_to(folder.absolute())
    if number in _DISK_FAULTS or (number in _PLACE_FAULTS and (is_there or not folder.is_dir())):
        return os.strerror(number)
    return None


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn into a :class:`StorageError` that the disk does not take what the block writes into a folder."""
    try:
        yield
    except ZoovetError:
        raise
    except Exception as error:
        if fault := storage_fault(error, folder):
            raise StorageError(f"cannot write into {folder}: {fault}") from error
        raise


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends well, and is removed when it does not.

    The content reaches the disk before the name does, so that a crash leaves the old file or the new one. A new file's
    permissions follow the umask; one that takes another's place has that one's. The temporary name says which process
    writes, so that what was left by one that was killed can be told (`remove_dead_partials`).

    Raises:
        StorageError: The disk is full or read-only, the folder is gone, or a device, pipe or socket has that name.
    """
    _require_replaceable(path)
    temporary: Path | None = None
    try:
        # Named before it is made: an interrupt in between leaves nothing.
        temporary = path.parent / f".{path.name[:40]}.{ProcessName.own()}.{secrets.token_hex(4)}{_SUFFIX}"
        mode = _made_by_the_umask(temporary)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        before = _mode_of(path)
        temporary.chmod(mode if before is None else before)  # some libraries replace the file by one of theirs
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            _remove_if_there(temporary)
        if isinstance(error, Exception) and (fault := storage_fault(error, path.parent)):
            raise StorageError(f"cannot write {path}: {fault}") from error
        raise


def _require_replaceable(path: Path) -> None:
    """Refuse to put a file in the place of a device, a pipe or a socket, as an administrator's rights would let us."""
    try:
        kind = path.stat().st_mode
    except OSError:  # nothing is there, or it cannot be seen: writing will tell
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise StorageError(f"cannot write {path}: a device, pipe or socket has that name; give another")


def _made_by_the_umask(path: Path) -> int:
    """Make an empty file that is not there yet, and say its permissions."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _mode_of(path: Path) -> int | None:
    """Permissions of a file that is to be replaced; none where there is none, or a link."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return stat.S_IMODE(found.st_mode) if stat.S_ISREG(found.st_mode) else None


def _remove_if_there(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        return  # gone, or on a disk that takes nothing any more: what led here, or comes next, tells


def is_partial(path: Path) -> bool:
    """Whether a path is a temporary one of :func:`atomic_path`."""
    return path.name.startswith(".") and path.name.endswith(_SUFFIX)


def remove_dead_partials(folder: Path, *, recursive: bool = False) -> None:
    """Remove what processes that have ended had begun to write in a folder that this process holds.

    Files of living processes of this machine stay, and so do those of another machine's until they are stale. A name
    that tells no process is of an earlier version; whoever wrote it held no folder.
    """
    for partial in folder.rglob(f".*{_SUFFIX}") if recursive else folder.glob(f".*{_SUFFIX}"):
        writer = ProcessName.parse((partial.name.rsplit(".", 3) + [""] * 3)[1])
        if writer is not None and (writer.runs if writer.is_here else not _is_stale(partial)):
            continue
        if not partial.is_dir():
            _remove_if_there(partial)


def _is_stale(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > SECONDS_UNTIL_STALE
    except OSError:
        return True


def write_text(path: Path, text: str) -> None:
    r"""Write a text file atomically (UTF-8); an odd byte of a name as ``\udcff``, which JSON reads back."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file atomically: indented, keys in the order given, with a final newline."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def require_writable_folder(path: Path) -> Path:
    """Make the folder where it is missing, and check that files can be made in it, before long work starts.

    Raises:
        ZoovetError: It cannot be made or written to; the message names it and says why.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ZoovetError(f"cannot write into {path}: {error.strerror or error}; give another --out") from error
    return path


def place_of(path: Path) -> Path:
    """Where a path leads, links followed, also through folders that are made only when something is written there."""
    return Path(os.path.realpath(path))


def are_one(path: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder, by whatever spelling or link."""
    place, place_of_other = place_of(path), place_of(other)
    with suppress(OSError):  # one is not there, or its name, an address perhaps, is too long to be any file's
        return place.samefile(place_of_other)
    return place == place_of_other
