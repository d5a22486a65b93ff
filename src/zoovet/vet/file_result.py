"""FileResult: what is said of one file, and how it comes about network by network."""

from __future__ import annotations

from dataclasses import dataclass

from zoovet.vet.failures import Failure
from zoovet.vet.verdicts import Verdict

__all__ = ["FileResult"]


@dataclass(frozen=True)
class FileResult:
    """What is said of one file.

    Attributes:
        place: Its number among those that were scanned.
        file: Its name.
        verdicts: On its networks, in their order, but for those that failed.
        failure: Why it could not be read, or some of its networks not be scored; ``None`` where all went well.
        notes: What was assumed, taken or left out when it was read, one line each.
        general_notes: How the verdicts came about; most files' are the same.
        is_of_strangers: Whether it could be read, and no detector for one graph knows its networks.
    """

    place: int
    file: str
    verdicts: tuple[Verdict, ...]
    failure: Failure | None
    notes: tuple[str, ...] = ()
    general_notes: tuple[str, ...] = ()
    is_of_strangers: bool = False
