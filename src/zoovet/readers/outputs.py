"""Which of the things that a network answers are its classes."""

from __future__ import annotations

from collections.abc import Sequence

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["chosen_output"]

_MAX_NAMES = 8


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
