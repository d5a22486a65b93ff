"""Keeping compiled code between calls, in a folder that nobody else may write: what lies there runs as the user.

It is ``native`` in the user's cache (``$XDG_CACHE_HOME/zoovet/native``, by default ``~/.cache/zoovet/native``). Where
others may change it, or its disk is full or read-only, code is compiled into a temporary folder of this process, and a
warning says why. Each file has its SHA-256 beside it (``sha256sum --check`` reads it); one that is not what was written
is compiled again.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable
from zoovet.text_files import open_regular
from zoovet.user_cache import user_cache

__all__ = ["compiled", "untrusted"]

Code = TypeVar("Code")

_GROUP_OR_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_REMEDY = "name a folder of your own by XDG_CACHE_HOME"


class _NotKeptError(Exception):
    """Nothing can be kept; the message says why."""


def compiled(identity: str, suffix: str, make: Callable[[Path], object], use: Callable[[Path], Code]) -> Code:
    """What ``use`` reads of the file that was compiled from ``identity``; made where it is not in the cache.

    Args:
        identity: All that it depends on.
        suffix: Of the file's name.
        make: Writes it to the path that it is called with, in a scratch folder of its own.
        use: Reads it; a file outside of the cache is gone afterwards.

    Raises:
        OSError: No scratch folder can be had, or ``use`` cannot read what was made.
    """
    name = f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}{suffix}"
    folder: Path | None = None
    problem = ""
    try:
        folder = _private_folder()
        if _is_whole(folder / name):
            return use(folder / name)
    except (OSError, _NotKeptError) as error:
        problem = _reason(error)
    with _scratch(folder) as scratch:
        made = Path(scratch) / f"made{suffix}"
        make(made)
        if folder is not None and not problem:
            try:
                _keep(made.read_bytes(), folder / name)
                return use(folder / name)
            except OSError as error:
                problem = f"in {printable(folder)}: {_reason(error)}"
        warnings.warn(f"compiled code is not kept for the next call: {problem}", stacklevel=2)
        return use(made)


def untrusted(folder: Path) -> str | None:
    """Why code from a folder must not be run: others than the user and root may change what lies in it, and who.

    Every folder above it is looked at as well, for who may rename one of these puts another in its place; in one that
    is sticky, as ``/tmp`` is, nobody can but the owners. A group that holds nobody but the user is the user.

    Args:
        folder: Absolute and without symbolic links.

    Returns:
        A sentence that names the folder which is at fault and a way out; ``None`` where all is well.
    """
    for place in (folder, *folder.parents):
        found = place.lstat()
        if not stat.S_ISDIR(found.st_mode):
            return f"{printable(place)} is not a folder; {_REMEDY}"
        if found.st_uid not in (0, os.geteuid()):
            return f"{printable(place)} belongs to another user ({_user_name(found.st_uid)}); {_REMEDY}"
        sticky = bool(found.st_mode & stat.S_ISVTX) and place != folder
        if found.st_mode & _writable_by_others(found) and not sticky:
            return f"others may write into {printable(place)}; run `chmod go-w` on it, or {_REMEDY}"
    return None


def _private_folder() -> Path:
    """The cache's folder, made where it is missing, each part for the user alone.

    Raises:
        _NotKeptError: It is not private, or there is no place for it.
        OSError: It cannot be made.
    """
    try:
        named = user_cache() / "native"
    except ZoovetError as error:
        raise _NotKeptError(str(error)) from None
    for place in (*reversed(named.parents), named):
        if not place.is_dir():
            try:
                place.mkdir(mode=0o700)
            except FileExistsError:
                if not place.is_dir():
                    raise _NotKeptError(f"{printable(place)} is not a folder; {_REMEDY}") from None
    folder = named.resolve()
    if reason := untrusted(folder):
        raise _NotKeptError(reason)
    return folder


def _scratch(cache: Path | None) -> tempfile.TemporaryDirectory[str]:
    """A folder of this process alone, below the system's temporary folder or, where that is of no use, the cache's.

    Raises:
        OSError: Neither is.
    """
    try:
        scratch = tempfile.TemporaryDirectory(prefix="zoovet-")
        if reason := untrusted(Path(scratch.name).resolve()):
            scratch.cleanup()
            raise PermissionError(reason)
    except OSError:
        if cache is None:
            raise
        return tempfile.TemporaryDirectory(prefix=".", dir=cache)
    return scratch


def _is_whole(path: Path) -> bool:
    """Whether a file and its checksum are there, the user's alone to write, and fit each other."""
    try:
        content, record = _read_own(path), _read_own(_checksum_path(path))
    except OSError:
        return False
    return record == _checksum_line(content, path)


def _read_own(path: Path) -> bytes:
    """What a file holds that is no link, belongs to the user (or root), and is nobody else's to write.

    Raises:
        OSError: It is not so, or cannot be read.
    """
    with os.fdopen(open_regular(path, os.O_NOFOLLOW), "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & _GROUP_OR_OTHERS_WRITE:
            raise PermissionError(f"{path} may be written by others")
        return file.read()


def _keep(content: bytes, path: Path) -> None:
    """Put a file and its checksum into the cache; two processes that do so at once leave one or the other's."""
    for target, data in ((path, content), (_checksum_path(path), _checksum_line(content, path))):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checksum_line(content: bytes, path: Path) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode()


def _writable_by_others(found: os.stat_result) -> int:
    """The permission bits by which somebody else than the owner may write."""
    return stat.S_IWOTH if _is_own_group(found.st_gid) else _GROUP_OR_OTHERS_WRITE


def _is_own_group(group: int) -> bool:
    """Whether a group is the one that many systems make for each user, named as the user and without other members."""
    if os.geteuid() == 0:
        return False
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and user.pw_name == found.gr_name and set(found.gr_mem) <= {user.pw_name}


def _user_name(user: int) -> str:
    try:
        return printable(pwd.getpwuid(user).pw_name)
    except KeyError:
        return f"number {user}"


def _reason(error: Exception) -> str:
    """An error in a few words, with the file that it is about."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{printable(error.filename, MAX_PATH_CHARACTERS)}: {error.strerror}"
    return printable(error, MAX_PATH_CHARACTERS)
