"""Exit statuses of the command: the one place that says them."""

from __future__ import annotations

import textwrap

__all__ = ["EXIT_ERROR", "EXIT_FLAGGED", "EXIT_INTERRUPTED", "EXIT_OK", "EXIT_STATUSES", "statuses_in_words"]

EXIT_OK = 0
"""Done; of ``scan`` and ``compare``: every network is healthy, or the policy lets it pass."""
EXIT_FLAGGED = 1
"""``scan`` or ``compare`` found a network that is trojaned or unknown, and no policy lets it pass."""
EXIT_ERROR = 2
"""Bad input, or results that cannot be written."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells count it: 128 + SIGINT."""

EXIT_STATUSES = {
    EXIT_OK: "done; of scan and compare: every network is healthy, or the policy lets it pass",
    EXIT_FLAGGED: "scan or compare found a network that is trojaned or unknown, and no policy lets it pass",
    EXIT_ERROR: "bad input, a file that could not be scanned, or results that cannot be written; a message says what",
    129: "ended by SIGHUP",
    EXIT_INTERRUPTED: "ended by Ctrl-C",
    143: "ended by SIGTERM",
}
"""What each means, for people; of scan and compare what was found so far is printed where it is ended."""


def statuses_in_words() -> str:
    """All of them, for help texts: ``Exit status: 0 done; …``."""
    said = ". ".join(f"{number} {meaning}" for number, meaning in EXIT_STATUSES.items())
    return textwrap.fill(f"Exit status: {said}.", 118, break_on_hyphens=False)
