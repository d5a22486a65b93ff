"""A folder of the user's cache that nobody else may write: what lies there is trusted as the user's own.

Each file has its SHA-256 beside it (``sha256sum --check`` reads it); one that is not what was written counts as none.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
import tempfile
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.text_files import open_regular
from zoovet.user_cache import user_cache

__all__ = ["NotPrivateError", "is_kept", "keep", "kept", "private_folder", "untrusted"]

_GROUP_OR_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_REMEDY = "name a folder of your own by XDG_CACHE_HOME"


class NotPrivateError(Exception):
    """Nothing can be kept; the message says why."""


def private_folder(name: str) -> Path:
    """A folder of the user's cache, made where it is missing, each part for the user alone.

    Raises:
        NotPrivateError: It is not private, or there is no place for it.
        OSError: It cannot be made.
    """
    try:
        named = user_cache() / name
    except ZoovetError as error:
        raise NotPrivateError(str(error)) from None
    for place in (*reversed(named.parents), named):
        if not place.is_dir():
            try:
                place.mkdir(mode=0o700)
            except FileExistsError:
                if not place.is_dir():
                    raise NotPrivateError(f"{printable(place)} is not a folder; {_REMEDY}") from None
    folder = named.resolve()
    if reason := untrusted(folder):
        raise NotPrivateError(reason)
    return folder


def untrusted(folder: Path) -> str | None:
    """Why what a folder holds must not be trusted: others than the user and root may change what lies in it, and who.

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


def kept(path: Path) -> bytes | None:
    """What :func:`keep` wrote; ``None`` where it, or its checksum, is not there, damaged, or not the user's alone."""
    try:
        content, record = _read_own(path), _read_own(_checksum_path(path))
    except OSError:
        return None
    return content if record == _checksum_line(content, path) else None


def is_kept(path: Path) -> bool:
    """Whether a file and its checksum are there, the user's alone to write, and fit each other."""
    return kept(path) is not None


def keep(content: bytes, path: Path) -> None:
    """Put a file and its checksum into the cache; two processes that do so at once leave one or the other's.

    Raises:
        OSError: They cannot be written; nothing of them is left.
    """
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
