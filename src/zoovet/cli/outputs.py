"""Checking where results go before the work starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.files import are_one, is_partial, place_of, require_writable_folder
from zoovet.folder_lock import LOCK_NAME

__all__ = ["require_own_file", "require_own_folder", "require_writable_file"]

_MOST_READ = 1 << 20
"""Bytes of a file that tell who wrote it."""


def require_own_folder(folder: Path, marker: str, what: str, begun: Sequence[str] = (), option: str = "--out") -> None:
    """Check that a folder is ours to write into: new, empty, or begun by the same verb.

    Args:
        folder: Made where missing.
        marker: A file in it that says the verb has been there.
        what: What the verb makes there, for the message.
        begun: What the verb writes before the marker: a process that was killed may have left it alone.
        option: What names the folder on the command line.

    Raises:
        ZoovetError: It holds something else, or cannot be written to.
    """
    place = place_of(folder)
    page = place / marker
    if page.suffix == ".html" and page.is_file() and not _is_ours(page, "<"):
        raise ZoovetError(f"{page} was not written by zoovet; give another folder for {what} as {option}")
    if os.path.isfile(place):  # a name that is too long, or otherwise impossible, is told below
        raise ZoovetError(f"{folder} is a file; give a folder for {what} as {option}")
    if os.path.isdir(place) and not (place / marker).exists():
        own = {LOCK_NAME, *begun}
        found = next(
            (path.name for path in sorted(place.iterdir()) if path.name not in own and not is_partial(path)), None
        )
        if found is not None:
            raise ZoovetError(
                f"{folder} holds something else than {what} ({found!r}, no {marker!r}); give another {option}"
            )
    require_writable_folder(folder)


def require_writable_file(path: Path, source: Path, *, force: bool) -> None:
    """Check that a file may be written: not over its source, nor over another file unless told so.

    Raises:
        ZoovetError: It may not, or its folder cannot be written to.
    """
    place = place_of(path)
    if place.is_dir():
        raise ZoovetError(f"{path} is a folder; give a file as --out")
    if are_one(path, source):
        raise ZoovetError(f"--out {path} is the input itself, which is never overwritten; give another --out")
    if place.exists() and not force:
        raise ZoovetError(f"{path} exists already; give another --out, or --force to overwrite it")
    require_writable_folder(path.parent)


def require_own_file(path: Path, others: Mapping[Path, str], option: str, beginning: str) -> None:
    """Check that a page or a list may be written: a new file, an empty one, or what zoovet wrote there before.

    Args:
        path: The file.
        others: Files that it must not be, by whatever spelling or link, and what each is.
        option: What names it on the command line.
        beginning: The character that what is written begins with.

    Raises:
        ZoovetError: It is a folder, one of the others or something else than what zoovet wrote, or its folder cannot
            be written to.
    """
    place = place_of(path)
    if place.is_dir():
        raise ZoovetError(f"{path} is a folder; give a file as {option}")
    for other, what in others.items():
        if are_one(path, other):
            raise ZoovetError(f"{option} {path} is {what}; give another")
    if place.is_file() and not _is_ours(place, beginning):
        raise ZoovetError(f"{path} exists, and is nothing that {option} has written; give another {option}")
    require_writable_folder(path.parent)


def _is_ours(path: Path, beginning: str) -> bool:
    """Whether a file is empty, or a page or list that zoovet wrote: it begins so, and names zoovet."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_READ)
    except OSError:
        return False
    return not content or (content.lstrip().startswith(beginning.encode()) and b"zoovet" in content)
