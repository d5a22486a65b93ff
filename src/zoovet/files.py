"""Writing files so that what is there is whole: to a temporary name first, then by rename."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError

__all__ = ["atomic_path", "require_writable_folder", "write_json", "write_text"]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends well, and is removed when it does not.

    The content reaches the disk before the name does, so that a crash leaves the old file or the new one. A new file's
    permissions follow the umask; one that takes another's place has that one's.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    os.close(handle)
    mode = _mode_by_the_umask(name)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        before = _mode_of(path)
        temporary.chmod(mode if before is None else before)  # some libraries replace the file by one of theirs
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _mode_by_the_umask(name: str) -> int:
    """Permissions of a new file; the empty file of this name, which was made for the user alone, gets them."""
    os.unlink(name)
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
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
