"""Progress where there is no terminal: a line now and then, for log files."""

from __future__ import annotations

import time

from rich.console import Console

__all__ = ["PlainProgress"]


class PlainProgress:
    """Prints lines, at most one every so many seconds unless one is important.

    Args:
        console: Where to.
        seconds: Least time between two lines.
    """

    def __init__(self, console: Console, seconds: float = 30.0) -> None:
        self._console = console
        self._seconds = seconds
        self._last = -seconds

    def line(self, text: str, *, important: bool = False) -> None:
        """Print a line, if it is time for one or it is important."""
        now = time.monotonic()
        if important or now - self._last >= self._seconds:
            self._last = now
            self._console.print(text, soft_wrap=True, highlight=False, markup=False)
