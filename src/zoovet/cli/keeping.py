"""What is kept when a verb cannot go on: said in the one line that its user sees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.files import StorageError, storage_errors

__all__ = ["AGAIN", "saying_what_is_kept", "shards_kept"]

AGAIN = "the same command goes on from there"


@contextmanager
def saying_what_is_kept(folder: Path, kept: Callable[[], str]) -> Iterator[None]:
    """Add to an interruption, and to a disk that does not take what is written, what is kept and how to go on.

    Args:
        folder: Where the block writes.
        kept: Says it, in the moment when it happens.

    Raises:
        KeyboardInterrupt: Ctrl-C or another signal, with the message.
        ZoovetError: The disk is full or read-only, or the folder is gone, with the message.
    """
    try:
        with storage_errors(folder):
            yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(str(interrupt) or kept()) from None
    except StorageError as error:
        raise ZoovetError(f"{error}; {kept()}") from error


def shards_kept(folder: Path) -> str:
    """How many shards of a zoo are there, and how to go on."""
    try:
        count = len(list(folder.glob("shard-*.parquet")))
    except OSError:
        count = 0
    if count == 0:
        return "nothing was finished yet; the same command begins again"
    kept = f"{count} whole shard{'' if count == 1 else 's'} kept in {folder}"
    if not os.path.exists(folder / "zoo.json"):
        return f"{kept}; zoo.json is gone, so give --repair-zoo to go on from there"
    return f"{kept}; {AGAIN}"
