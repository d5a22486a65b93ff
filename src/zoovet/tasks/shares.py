"""Share: which of a step's networks a process learns on, where several share a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

__all__ = ["Share"]


class _Sliceable(Protocol):
    """Something about each of some networks."""

    def __getitem__(self, index: slice, /) -> Any: ...


Sliceable = TypeVar("Sliceable", bound=_Sliceable)


@dataclass(frozen=True)
class Share:
    """Every ``count``-th network of a batch, from the ``index``-th on.

    What is drawn for a step is drawn for all of its networks in every process; each then learns on its share. So the
    processes together do what one would do.

    Attributes:
        index: Which process, from 0.
        count: How many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def places(self) -> slice:
        """Where its networks are in a batch."""
        return slice(self.index, None, self.count)

    def size(self, total: int) -> int:
        """How many of a batch's networks it has."""
        return len(range(self.index, total, self.count))

    def of(self, parts: Sequence[Sliceable], sizes: Sequence[int]) -> list[Sliceable]:
        """Its own of what comes in parts, as a batch does that is sorted by graph; empty parts are left out.

        Args:
            parts: Of each part something that is sliced by network.
            sizes: How many networks each part has.
        """
        if self.count == 1:
            return list(parts)
        own, start = list[Sliceable](), 0
        for part, size in zip(parts, sizes, strict=True):
            first = (self.index - start) % self.count
            if first < size:
                own.append(part[first :: self.count])
            start += size
        return own
