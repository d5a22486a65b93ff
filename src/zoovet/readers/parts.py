"""What is said of a file that holds several state dicts: which is read, and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.tensor_names import is_average

__all__ = ["beside_it", "part_name", "several_fit"]


def part_name(part: str) -> str:
    """A part of a file (:attr:`~zoovet.readers.content.FileContent.parts`), for messages."""
    return repr(printable(part[:-1], 40))


def beside_it(parts: Sequence[str], read: str) -> tuple[str, ...]:
    """A note that says which of a file's parts is read; none where it has no parts.

    Args:
        parts: All of them.
        read: The one that is read.
    """
    others = [part for part in parts if part != read]
    if read not in parts or not others:
        return ()
    note = f"read is {part_name(read)}; beside it the file holds {', '.join(map(part_name, others))}"
    if is_average(read) or not any(map(is_average, others)):
        return (note,)
    return (f"{note}: whoever loads an average of weights has another network; look at it too, in a file of its own",)


def several_fit(source: str, part: str, other: str) -> ZoovetError:
    """What to raise where two parts fit, and are different networks."""
    return ZoovetError(
        f"{source} holds several networks that fit, {part_name(part)} and {part_name(other)}: save the one that is "
        f"meant in a file of its own"
    )
