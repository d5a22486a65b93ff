"""What values of a file are, in words."""

from __future__ import annotations

from collections.abc import Mapping

from zoovet.printable import printable
from zoovet.readers.parsing.values import Array, Global, Instance, OddTensor, Pairs, StoredTensor

__all__ = ["kind_in_words", "said_in_parentheses"]

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "nothing"),
    (str, "a text"),
    ((bytes, bytearray), "bytes"),
    ((bool, int, float, complex), "a number"),
    ((list, tuple, set, frozenset), "a list"),
    ((Mapping, Pairs), "a dictionary"),
    (Array, "an array"),
    ((StoredTensor, OddTensor), "a tensor"),
    ((Global, Instance), "an object"),
)


def kind_in_words(value: object) -> str:
    """What a value is, by a name that people have for it, as ``a text``; ``an object`` where they have none."""
    return next((words for kinds, words in _KINDS if isinstance(value, kinds)), "an object")


def said_in_parentheses(error: Exception) -> str:
    """What an error says, a space before it; nothing where it says nothing. Safe to show."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else error
    words = printable(next(iter(str(said).splitlines()), ""), 80)
    return f" ({words})" if words else ""
