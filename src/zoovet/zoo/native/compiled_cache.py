"""Keeping compiled code between calls, in a folder that nobody else may write: what lies there runs as the user.

It is ``native`` in the user's cache (``$XDG_CACHE_HOME/zoovet/native``, by default ``~/.cache/zoovet/native``). Where
others may change it, or its disk is full or read-only, code is compiled into a temporary folder of this process, and a
warning says why. One that is not what was written is compiled again (:mod:`zoovet.private_cache`).
"""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from zoovet.printable import MAX_PATH_CHARACTERS, printable
from zoovet.private_cache import NotPrivateError, is_kept, keep, private_folder, untrusted

__all__ = ["compiled"]

Code = TypeVar("Code")


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
        folder = private_folder("native")
        if is_kept(folder / name):
            return use(folder / name)
    except (OSError, NotPrivateError) as error:
        problem = _reason(error)
    with _scratch(folder) as scratch:
        made = Path(scratch) / f"made{suffix}"
        make(made)
        if folder is not None and not problem:
            try:
                keep(made.read_bytes(), folder / name)
                return use(folder / name)
            except OSError as error:
                problem = f"in {printable(folder)}: {_reason(error)}"
        warnings.warn(f"compiled code is not kept for the next call: {problem}", stacklevel=2)
        return use(made)


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


def _reason(error: Exception) -> str:
    """An error in a few words, with the file that it is about."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{printable(error.filename, MAX_PATH_CHARACTERS)}: {error.strerror}"
    return printable(error, MAX_PATH_CHARACTERS)
