"""Texts from strangers (names of files and tensors, what libraries say of them) made safe to show to a person."""

from __future__ import annotations

import os
import re

__all__ = ["MAX_PATH_CHARACTERS", "printable", "text_of_name", "with_article"]

MAX_CHARACTERS = 160
"""Of a text."""

MAX_PATH_CHARACTERS = 1024
"""Of a path, which is of no use shortened: whoever reads it looks for the file. Systems take 4,096, people 100."""


_SPOKEN_WITH_A_VOWEL = tuple("FHLMNRSX")


def printable(text: object, limit: int | None = None) -> str:
    r"""One short line without control characters: ``a\x1b[2J`` is shown as ``a\x1b[2J``, not obeyed.

    Whatever :meth:`str.isprintable` does not take is written as an escape (control characters, line breaks, marks that
    turn the direction of writing, surrogates of names that are no UTF-8); what is too long loses its middle. For a
    table or a page that knows a markup, escape its markup besides.

    Args:
        text: Anything; its ``str``, or of bytes and paths the name in the file system.
        limit: Most characters of the result, at least 8; by default :data:`MAX_CHARACTERS`, of a
            :class:`~pathlib.Path` :data:`MAX_PATH_CHARACTERS`.
    """
    if limit is None:
        limit = MAX_PATH_CHARACTERS if isinstance(text, os.PathLike) else MAX_CHARACTERS
    shown = os.fsdecode(text) if isinstance(text, bytes | os.PathLike) else str(text)
    if len(shown) > limit:
        half = (limit - 1) // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    escaped = "".join(letter if letter.isprintable() else _escape(letter) for letter in shown)
    if len(escaped) <= limit:
        return escaped
    half = (limit - 1) // 2
    return f"{escaped[:half]}…{escaped[-half:]}"


def text_of_name(name: str) -> str:
    r"""A file's name as text that is valid in UTF-8: a byte that is not becomes ``\xff``, all else stays."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def with_article(name: str) -> str:
    """A name behind the article that it is spoken with: ``an MLP``, ``a ResNet-20``, ``an alpha``, ``a uint8``.

    Args:
        name: Its first word is spelt out where it is of capital consonants.
    """
    word = re.split(r"[^A-Za-z]", name, maxsplit=1)[0]
    is_spelt = re.fullmatch(r"[B-DF-HJ-NP-TV-Z]+", word) is not None
    is_vowel = word[:1] in _SPOKEN_WITH_A_VOWEL if is_spelt else re.match(r"(?!uni|use|uint)[aeiou]", word.lower())
    return f"{'an' if is_vowel else 'a'} {name}"


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
