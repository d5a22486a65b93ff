"""Writing results to standard output so that nobody takes what did not arrive for an answer."""

from __future__ import annotations

import errno
import os
import sys

from zoovet.errors import ZoovetError

__all__ = ["print_results"]


def print_results(text: str) -> None:
    """Write to standard output, all of it, now.

    What its encoding lacks is written as escapes.

    Args:
        text: Lines; a newline is added.

    Raises:
        ZoovetError: It is closed, or what is behind it takes no more (a full disk).
        BrokenPipeError: Nobody reads it any more.
    """
    if sys.stdout is None:
        raise ZoovetError("cannot write the results: standard output is closed")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _let_go()
        raise ZoovetError(f"cannot write the results to standard output: {error.strerror or error}") from error


def _let_go() -> None:
    """Send what is still to be written nowhere, or Python complains once more at exit and changes its status."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # what took its place is no file
        if error.errno not in (None, errno.EBADF):
            raise
