"""The one exception that users of zoovet meet: something they gave does not fit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["ZoovetError", "nearest"]


class ZoovetError(ValueError):
    """Bad input. The message names what was wrong, where, what was expected and what to do.

    The command line prints the message and leaves with exit status 2; everything else that is
    raised is a defect of zoovet.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant: ``"; did you mean 'relu'?"``, or the list where none is near."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(map(repr, known))}"
