"""Why a file is not read, in the words that follow its name."""

from __future__ import annotations

__all__ = ["DAMAGED", "EXPORT", "Refusal"]

EXPORT = "save its state dict: torch.save(module.state_dict(), 'weights.pt')"
DAMAGED = "is damaged or truncated"


class Refusal(Exception):
    """A file is not read. The text is a sentence's end, ``is empty``: the file's name is put before it."""
