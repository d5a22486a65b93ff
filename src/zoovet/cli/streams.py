"""Standard output and standard error that cannot be written: a full disk, a pipe whose reader has gone."""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO

__all__ = ["flush", "is_told", "say"]


_DISK_FAULTS = (errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC)


def flush() -> None:
    """Write out what standard output holds; a process that was started without one has none."""
    if sys.stdout is not None:
        sys.stdout.flush()


def say(text: str) -> None:
    """A line on standard error; where that cannot be written, the exit status has to tell."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _let_go(sys.stderr)


def is_told(error: OSError) -> bool:
    """Whether an error is about standard output or standard error; if so it is told, where it can be.

    Of a disk's errors those are left that name no file: whoever writes files tells theirs. A pipe whose reader wants no
    more needs no word. What the streams still hold is given up, or Python would try, and complain, once more at exit.
    """
    sound = [_is_sound(stream) for stream in (sys.stdout, sys.stderr)]
    if isinstance(error, BrokenPipeError):
        return True
    if all(sound) and not (error.filename is None and error.errno in _DISK_FAULTS):
        return False
    say(f"error: cannot write to standard output: {error.strerror or error}")
    return True


def _is_sound(stream: TextIO | None) -> bool:
    if stream is None:
        return True
    try:
        stream.flush()
    except (OSError, ValueError):
        _let_go(stream)
        return False
    return True


def _let_go(stream: TextIO) -> None:
    """Let what is still written to a stream go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
