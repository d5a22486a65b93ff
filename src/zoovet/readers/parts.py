"""Of several state dicts in a file, the one that is read, and what is said of those beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.content import FileContent
from zoovet.readers.tensor_names import is_average

__all__ = ["NothingFits", "fitting_part", "part_name", "plain_parts"]

_Read = TypeVar("_Read")


class NothingFits(Exception):
    """No part of a file is what it is read as.

    Attributes:
        refusals: Why each of them is not.
    """

    def __init__(self, refusals: list[ZoovetError]) -> None:
        super().__init__()
        self.refusals = refusals


def plain_parts(content: FileContent) -> list[str]:
    """Parts that are no averages of weights."""
    return [part for part in content.parts if not is_average(part)]


def fitting_part(
    content: FileContent,
    source: str,
    read: Callable[[Mapping[str, Tensor]], _Read],
    are_same: Callable[[_Read, _Read], bool],
) -> tuple[_Read, tuple[str, ...]]:
    """What the part of a file is read as that fits, and what is to be said of it.

    Plain weights come before averages of them. Two that fit and differ are refused. A file without parts is one.

    Args:
        content: What the file holds.
        source: The file, for messages.
        read: Reads a state dict, or raises a :class:`ZoovetError`.
        are_same: Whether two that were read are the same network.

    Raises:
        NothingFits: None does.
        ZoovetError: Several do, and differ.
    """
    plain = plain_parts(content)
    refusals, fitting = list[ZoovetError](), dict[str, _Read]()
    for parts in (plain, [part for part in content.parts if part not in plain]) if content.parts else ([""],):
        for part in parts if not fitting else ():
            own = {name[len(part) :]: tensor for name, tensor in content.tensors.items() if name.startswith(part)}
            try:
                fitting[part] = read(own)
            except ZoovetError as error:
                refusals.append(error)
    if not fitting:
        raise NothingFits(refusals)
    (part, first), *others = fitting.items()
    for other, another in others:
        if not are_same(first, another):
            raise ZoovetError(
                f"{source} holds several networks that fit, {part_name(part)} and {part_name(other)}: save the one "
                f"that is meant in a file of its own"
            )
    return first, _beside(content.parts, part)


def part_name(part: str) -> str:
    """A part of a file (:attr:`~zoovet.readers.content.FileContent.parts`), for messages."""
    return repr(printable(part[:-1], 40))


def _beside(parts: Sequence[str], read: str) -> tuple[str, ...]:
    """A note that says which of a file's parts is read, and names the others."""
    others = [part for part in parts if part != read]
    if not others:
        return ()
    note = f"read is {part_name(read)}; beside it the file holds {', '.join(map(part_name, others))}"
    if is_average(read) or not any(map(is_average, others)):
        return (note,)
    return (f"{note}: whoever loads an average of weights has another network; look at it too, in a file of its own",)
