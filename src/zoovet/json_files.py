"""Reading JSON that anyone may have written, in bounded memory and time: what is odd is one line, never a traceback."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable
from zoovet.text_files import MAX_BYTES, in_words, read_text_file

__all__ = [
    "MAX_DEPTH",
    "parse_json",
    "parse_json_object",
    "read_json",
    "read_json_object",
    "shown_value",
    "typed_value",
]

Kind = TypeVar("Kind", dict[str, Any], list[Any], str, bool, int, float)

_WORDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    type(None): "null",
}

MAX_DEPTH = 64
"""How many lists and objects may lie in one another; zoovet's own files have a handful."""

_BYTES_PER_VALUE = 16
"""A file of the largest size may hold a value for each so many bytes: an empty list takes 2 of a file, 56 in memory."""

_MAX_DIGITS = 64
"""Of an integer."""

_MAX_SHOWN = 60
"""Characters of a value in an error."""


def read_json(path: Path, max_bytes: int = MAX_BYTES, *, missing: str | None = None) -> Any:
    """The value in a JSON file.

    Args:
        path: The file.
        max_bytes: What it may weigh.
        missing: The error's whole message where nothing lies at the path.

    Raises:
        ZoovetError: It cannot be read as a text (see :func:`zoovet.text_files.read_text_file`), or as JSON (see
            :func:`parse_json`); the message names the file.
    """
    return parse_json(read_text_file(path, max_bytes, missing=missing), str(path), max_bytes)


def read_json_object(path: Path, max_bytes: int = MAX_BYTES, *, missing: str | None = None) -> dict[str, Any]:
    """As :func:`read_json`, of a file that must hold an object ``{...}``."""
    return _object(read_json(path, max_bytes, missing=missing), str(path))


def parse_json(text: str | bytes, where: str, max_bytes: int = MAX_BYTES) -> Any:
    """The value that a text is in JSON.

    Args:
        text: Of any origin; bytes are UTF-8.
        where: What it is, for the error.
        max_bytes: What it may weigh; a sixteenth of it is the number of values that it may hold.

    Raises:
        ZoovetError: It is too long, no JSON, nested more than :data:`MAX_DEPTH` deep, holds too many values, a key
            twice, ``NaN`` or an infinity, an integer beyond any meaning, or half of a character.
    """
    if len(text) > max_bytes:
        raise ZoovetError(f"{_shown(where)} is longer than the {in_words(max_bytes)} that it may be")
    max_values = max_bytes // _BYTES_PER_VALUE
    try:
        read = text if isinstance(text, str) else text.decode("utf-8")
        if sum(map(read.count, ",[{")) > max_values:
            raise ValueError(f"it holds more than {max_values:,} values")
        value = json.loads(
            read,
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        _require_shallow(value)
        if "\\ud" in read or "\\uD" in read:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ZoovetError(f"{_shown(where)} cannot be read: {_too_deep()}") from None
    except UnicodeEncodeError:
        raise ZoovetError(f"{_shown(where)} cannot be read: it holds half of a character (a surrogate)") from None
    except ValueError as error:
        raise ZoovetError(f"{_shown(where)} cannot be read as JSON: {printable(error)}") from None
    return value


def parse_json_object(text: str | bytes, where: str, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """As :func:`parse_json`, of a text that must be an object ``{...}``."""
    return _object(parse_json(text, where, max_bytes), where)


def typed_value(data: dict[str, Any], key: str, kind: type[Kind], where: str) -> Kind:
    """The value of a key of a JSON object, where it is of the kind that it must be.

    Args:
        data: The object.
        key: Which.
        kind: ``dict``, ``list``, ``str``, ``bool``, ``int``, or ``float``, which takes integers too.
        where: What the object is, for the error.

    Raises:
        ZoovetError: The key is missing, or its value of another kind.
    """
    if key not in data:
        raise ZoovetError(f"{_shown(where)}: the key '{key}' is missing; it takes {_WORDS[kind]}")
    found = type(data[key])
    if found is kind or (found, kind) == (int, float):
        return cast(Kind, data[key])
    raise ZoovetError(f"{_shown(where)}: '{key}' must be {_WORDS[kind]}, got {_WORDS[found]}")


def shown_value(value: Any) -> str:
    """A value from JSON in an error's words: numbers, texts and short lists as they are, else its kind."""
    if isinstance(value, str):
        return f"'{printable(value, _MAX_SHOWN)}'"
    if isinstance(value, dict) or type(value) not in _WORDS:
        return _WORDS.get(type(value), "something else")
    text = repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
    return _WORDS[type(value)] if isinstance(value, list) and len(text) > _MAX_SHOWN else printable(text, _MAX_SHOWN)


def _shown(where: str) -> str:
    """What something is, for an error; the path in it whole."""
    return printable(where, MAX_PATH_CHARACTERS)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ZoovetError(f"{_shown(where)} must hold a JSON object, got {_WORDS[type(value)]}")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key '{printable(twice, 60)}' is given twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {printable(digits, 40)} is too large")
    return number


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"it holds an integer of {len(digits):,} digits")
    return int(digits)


def _require_shallow(value: Any) -> None:
    """Level by level, so that no nesting is too deep for this itself."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        if not inner:
            return
        level = [item for items in inner for item in items]
    raise ValueError(_too_deep())


def _too_deep() -> str:
    return f"its lists and objects lie more than {MAX_DEPTH} deep in one another"
