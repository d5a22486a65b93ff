"""Times as people read them."""

from __future__ import annotations

__all__ = ["clock"]


def clock(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
