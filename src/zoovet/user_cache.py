"""The user's cache folder: where what can be made again, or downloaded again, is kept between calls."""

from __future__ import annotations

import os
from pathlib import Path

from zoovet.errors import ZoovetError

__all__ = ["user_cache"]


def user_cache() -> Path:
    """``zoovet`` in the folder that ``XDG_CACHE_HOME`` names, by default ``~/.cache``; it may not be there yet.

    A variable that holds no absolute path is disregarded, as the XDG Base Directory Specification asks.

    Raises:
        ZoovetError: Nothing says where it is: there is no home folder either.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        return named / "zoovet"
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise ZoovetError("there is no home folder to keep a cache in; name a folder by XDG_CACHE_HOME")
    return home / ".cache" / "zoovet"
