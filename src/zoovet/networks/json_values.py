"""Checks of JSON values that somebody else may have written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from zoovet.errors import ZoovetError, nearest
from zoovet.json_files import shown_value

__all__ = ["check_keys", "number", "plain", "whole_number", "whole_numbers"]


def plain(value: Any) -> Any:
    """The value with lists for tuples, as JSON will hand it back."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def check_keys(data: Any, known: Iterable[str], required: Iterable[str], what: str) -> dict[str, Any]:
    """The value itself.

    Raises:
        ZoovetError: It is no object, or has a key too many or too few; the message names ``what`` and the key.
    """
    if not isinstance(data, dict):
        raise ZoovetError(f"{what} must be a JSON object, got {shown_value(data)}")
    known = sorted(known)
    for key in data:
        if key not in known:
            raise ZoovetError(f"{what} has the unknown key {key!r}{nearest(str(key), known)}")
    for key in required:
        if key not in data:
            raise ZoovetError(f"{what} lacks the key {key!r}")
    return data


def whole_number(value: Any, what: str) -> int:
    """The value itself, where it is an integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ZoovetError(f"{what} must be an integer, got {shown_value(value)}")
    return value


def number(value: Any, what: str) -> float:
    """The value as a float, where it is a finite number."""
    try:
        finite = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond what a float can hold
        raise ZoovetError(f"{what} must be a finite number, got an integer that no float can hold") from None
    if not finite:
        raise ZoovetError(f"{what} must be a finite number, got {shown_value(value)}")
    return float(value)


def whole_numbers(value: Any, what: str, lengths: Iterable[int]) -> tuple[int, ...]:
    """The value as a tuple, where it is a list of integers of one of the lengths."""
    lengths = tuple(lengths)
    if not isinstance(value, list) or any(not isinstance(item, int) or isinstance(item, bool) for item in value):
        raise ZoovetError(f"{what} must be a list of integers, got {shown_value(value)}")
    if len(value) not in lengths:
        raise ZoovetError(f"{what} must hold {' or '.join(map(str, lengths))} integers, got {shown_value(value)}")
    return tuple(value)
