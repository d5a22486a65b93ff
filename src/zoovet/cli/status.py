"""Exit statuses of the command."""

from __future__ import annotations

__all__ = ["EXIT_ERROR", "EXIT_FLAGGED", "EXIT_INTERRUPTED", "EXIT_OK"]

EXIT_OK = 0
"""Done; of ``scan``: every network is healthy."""
EXIT_FLAGGED = 1
"""``scan`` found a network that is trojaned, or so unlike all that it knows that it cannot tell."""
EXIT_ERROR = 2
"""Bad input."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells count it: 128 + SIGINT."""
