"""Texts that say how far something is: ``2 of 5: reading``, and within a part ``1 of 3: 2 of 5: reading``."""

from __future__ import annotations

import re

__all__ = ["counted", "share_done"]

_COUNT = re.compile(r"\b([1-9]\d{0,5}) of ([1-9]\d{0,5}): ")


def counted(number: int, total: int, what: str) -> str:
    """What is done now, and which of how many parts that is.

    Args:
        number: From 1.
        total: Of all parts.
        what: In a few words; it may say in the same way how far the part is.
    """
    return f"{number} of {total}: {what}"


def share_done(text: str) -> float | None:
    """The share that is done when a text of :func:`counted` is said; ``None`` where it says no count.

    Args:
        text: Of any origin.
    """
    share, part, has_count = 0.0, 1.0, False
    for number, total in _COUNT.findall(text):
        if int(number) > int(total):
            continue
        part /= int(total)
        share, has_count = share + (int(number) - 1) * part, True
    return share if has_count else None
