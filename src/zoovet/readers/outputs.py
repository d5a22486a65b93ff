"""Which of the things that a network answers are its classes, and what of a file they need."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["chosen_output", "needed"]

_MAX_NAMES = 8
_LEFT_OUT = (None, "")


class _Step(Protocol):
    @property
    def inputs(self) -> Sequence[Hashable]: ...

    @property
    def outputs(self) -> Sequence[Hashable]: ...


_AnyStep = TypeVar("_AnyStep", bound=_Step)


def chosen_output(count: int, output: int | None, names: Sequence[str] = ()) -> int:
    """The place of the one that is to be read.

    Args:
        count: Things that the network answers for an image; at least one.
        output: Which was asked for, from 0; ``None`` where there is but one.
        names: What they are called, where they have names.

    Raises:
        ZoovetError: There are several and none was asked for, there is but one, or not so many.
    """
    if count == 1 and output is not None:
        raise ZoovetError("the network answers one thing for an image: leave out output")
    if output is None:
        if count == 1:
            return 0
        shown = ", ".join(repr(printable(name, 40)) for name in names[:_MAX_NAMES])
        raise ZoovetError(
            f"the network answers {count} things for an image{f' ({shown})' if shown else ''}: say which are its "
            f"classes, output=INDEX (--output INDEX), counted from 0"
        )
    if isinstance(output, bool) or not isinstance(output, int) or not 0 <= output < count:
        raise ZoovetError(f"output must lie in 0 to {count - 1}, got {printable(output, 40)}")
    return output


def needed(steps: Sequence[_AnyStep], output: Hashable) -> list[_AnyStep]:
    """The steps of a file's computation that an output needs, in order.

    Args:
        steps: All, in the order in which they run; an input that is left out is ``None`` or ``""``.
        output: What the output is called, or its number.
    """
    asked_for, kept = {output}, list[_AnyStep]()
    for step in reversed(steps):
        if asked_for.intersection(step.outputs):
            asked_for.update(one for one in step.inputs if one not in _LEFT_OUT)
            kept.append(step)
    return kept[::-1]
