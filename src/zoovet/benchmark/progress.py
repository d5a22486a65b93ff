"""How far a benchmark is: jobs done, at what rate, and how long the rest may take."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Progress"]


class Progress:
    """Counts jobs, and says how long the rest may take at the rate so far.

    Args:
        total: How many jobs there are.
        tell: Told of every job that is done.
    """

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self._total, self._tell = total, tell
        self._num_done, self._started = 0, time.monotonic()

    def done(self, job: object) -> None:
        """Tell of one more."""
        self._num_done += 1
        rate = self._num_done / max(time.monotonic() - self._started, 1e-9)
        left = (self._total - self._num_done) / rate
        rest = f" ({60 * rate:.3g} a minute, {left / 60:.0f} minutes left at this rate)" if left >= 60 else ""
        self._tell(f"{self._num_done} of {self._total}: {job}{rest}")
