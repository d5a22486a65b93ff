"""Reading text files that anyone may have written: a regular file, no larger than expected, in UTF-8, or one line."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["MAX_BYTES", "in_words", "open_regular", "read_text_file"]

MAX_BYTES = 16 << 20
"""What a configuration or a JSON file may weigh where nothing else is said; zoovet's own weigh a hundredth of it."""

_KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


def read_text_file(path: str | Path, max_bytes: int = MAX_BYTES, *, missing: str | None = None) -> str:
    """The text of a file, without the byte order mark that some editors put before it.

    At most ``max_bytes`` are read, whatever the file's size claims, and a named pipe or a device is not waited for.

    Args:
        path: The file, or a link to one.
        max_bytes: What it may weigh.
        missing: The error's whole message where nothing lies at the path.

    Raises:
        ZoovetError: It is missing, no regular file, too large, not readable, or no UTF-8; the message names it.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            data = file.read(max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise ZoovetError(missing or f"there is no file {printable(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ZoovetError(f"{printable(path)} cannot be read: {printable(reason)}") from None
    if len(data) > max_bytes:
        raise ZoovetError(
            f"{printable(path)} is larger than the {in_words(max_bytes)} that such a file may weigh; is it the "
            "right file?"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ZoovetError(
            f"{printable(path)} cannot be read: it is no text in UTF-8 (byte {error.start}: {error.reason})"
        ) from None


def open_regular(path: str | Path, flags: int = 0) -> int:
    """A descriptor of a regular file, open for reading; anything else is refused without waiting for it.

    Args:
        path: The file, or a link to one.
        flags: Further flags of :func:`os.open`, such as ``os.O_NOFOLLOW``.

    Raises:
        OSError: It cannot be opened, or is a folder, a named pipe, a device; its ``strerror`` says so.
    """
    mode = os.stat(path).st_mode  # before it is opened, which a device may take for a wish
    if stat.S_ISREG(mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | flags)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return descriptor
        os.close(descriptor)
    raise OSError(errno.EINVAL, f"it {_KINDS.get(stat.S_IFMT(mode), 'is no regular file')}, not a file", str(path))


def in_words(num_bytes: int) -> str:
    """A limit on a size in words: ``16 MB``, ``256 kB``."""
    return f"{num_bytes / (1 << 20):g} MB" if num_bytes >= 1 << 20 else f"{num_bytes / (1 << 10):g} kB"
