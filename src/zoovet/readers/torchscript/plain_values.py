"""TorchScript's operators on numbers, texts and lists, in bounds: what shapes and decisions are computed by."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

__all__ = ["LIST_OPERATORS", "MAX_ITEMS", "PLAIN_OPERATORS", "bounded"]

_Value = TypeVar("_Value")
_LARGEST = 2**62
MAX_ITEMS = 10_000
"""Of a list."""
_MAX_LETTERS = 10_000
_MAX_EXPONENT = 64


def bounded(value: _Value) -> _Value:
    """The same value.

    Raises:
        ValueError: It is a number or list of a size that no network has.
    """
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError("makes a number of more than 62 bits")
    if isinstance(value, list | tuple | str) and len(value) > (_MAX_LETTERS if isinstance(value, str) else MAX_ITEMS):
        raise ValueError(f"makes a list of more than {MAX_ITEMS:,} items")
    return value


def _numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers alone: no list is repeated, no text joined by it."""

    def of(*given: Any) -> Any:
        if not all(isinstance(one, int | float) for one in given):
            raise TypeError("calculates with what is no number")
        return bounded(function(*given))

    return of


def _add(first: Any, second: Any, alpha: float = 1) -> Any:
    if isinstance(first, list) and isinstance(second, list):
        return bounded(bounded(first) + bounded(second))
    if isinstance(first, str) and isinstance(second, str):
        return bounded(bounded(first) + bounded(second))
    return _numbers(lambda a, b, times: a + b * times)(first, second, alpha)


def _multiply(first: Any, second: Any) -> Any:
    if isinstance(first, list) and isinstance(second, int):
        if len(first) * second > MAX_ITEMS:
            raise ValueError(f"makes a list of more than {MAX_ITEMS:,} items")
        return first * second
    return _numbers(operator.mul)(first, second)


def _divide(first: Any, second: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode == "floor":
        return _numbers(operator.floordiv)(first, second)
    quotient = _numbers(operator.truediv)(first, second)
    return math.trunc(quotient) if rounding_mode == "trunc" else quotient


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, int) and abs(exponent) > _MAX_EXPONENT:
        raise ValueError(f"takes a power above {_MAX_EXPONENT}")
    result = _numbers(operator.pow)(base, exponent)
    if isinstance(result, complex):
        raise ValueError("takes a root of a negative number")
    return result


def _sum(items: Any) -> Any:
    return bounded(sum(_all_numbers(items)))


def _extreme(function: Callable[..., Any]) -> Callable[..., Any]:
    def of(*given: Any) -> Any:
        return function(_all_numbers(given[0] if len(given) == 1 else given))

    return of


def _all_numbers(items: Any) -> list[Any]:
    numbers = list(items)
    if not all(isinstance(one, int | float) for one in numbers):
        raise TypeError("calculates with what is no number")
    return numbers


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        raise TypeError("writes a list as a text")
    return str(bounded(value))


def _clamp(number: Any, least: Any = None, most: Any = None) -> Any:
    raised = number if least is None else _numbers(max)(number, least)
    return raised if most is None else _numbers(min)(raised, most)


def _append(items: list[Any], one: Any) -> list[Any]:
    items.append(one)
    return bounded(items)


def _extend(items: list[Any], more: list[Any]) -> None:
    bounded(items), bounded(more)
    items.extend(list(more))


def _set_item(items: Any, place: Any, one: Any) -> Any:
    items[place] = one
    return bounded(items)


def _item(items: Any, place: Any) -> Any:
    return items[place]


def _slice(items: Any, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return items[start:end:step]


def _format(text: str, *given: Any) -> Any:
    """A text with numbers and texts put into it, as programs say why they stop."""
    for one in given:
        text = bounded(text.replace("{}", str(one) if isinstance(one, int | float | str) else "…", 1))
    return text


def _contains(items: Any, one: Any) -> bool:
    return _flat(one) in _flat(items)


def _compared(function: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda first, second: function(_flat(first), _flat(second))


def _flat(value: Any) -> Any:
    """The same value: lists of lists, each the last one twice, would be compared without an end."""
    if isinstance(value, list | tuple | dict) and any(isinstance(one, list | tuple | dict) for one in value):
        raise TypeError("compares lists of lists")
    return value


_COMPARED = {name: _compared(getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")}
PLAIN_OPERATORS: Mapping[str, Callable[..., Any]] = MappingProxyType({
    **_COMPARED,
    "add": _add,
    "sub": lambda first, second, alpha=1: _numbers(lambda a, b, times: a - b * times)(first, second, alpha),
    "rsub": lambda first, second, alpha=1: _numbers(lambda a, b, times: b - a * times)(first, second, alpha),
    "mul": _multiply,
    "div": _divide,
    "true_divide": _divide,
    "floordiv": _numbers(operator.floordiv),
    "floor_divide": _numbers(operator.floordiv),
    "remainder": _numbers(operator.mod),
    "pow": _power,
    "neg": _numbers(operator.neg),
    "abs": _numbers(abs),
    "sqrt": _numbers(math.sqrt),
    "log": _numbers(math.log),
    "exp": _numbers(math.exp),
    "ceil": _numbers(math.ceil),
    "floor": _numbers(math.floor),
    "round": _numbers(round),
    "all": lambda items: all(_all_numbers(items)),
    "any": lambda items: any(_all_numbers(items)),
    "min": _extreme(min),
    "max": _extreme(max),
    "sum": _sum,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda number, most: _clamp(number, None, most),
    "len": len,
    "list": lambda items: list(bounded(items)),
    "copy": lambda items: list(bounded(items)),
    "append": _append,
    "extend": _extend,
    "reverse": lambda items: items.reverse(),
    "pop": lambda items, place=-1: items.pop(place),
    "insert": lambda items, place, one: (items.insert(place, one), bounded(items))[0],
    "_set_item": _set_item,
    "select": _item,
    "__getitem__": _item,
    "slice": _slice,
    "__contains__": _contains,
    "__not__": operator.not_,
    "__and__": _numbers(operator.and_),
    "__or__": _numbers(operator.or_),
    "__xor__": _numbers(operator.xor),
    "logical_not": operator.not_,
    "format": _format,
    "warn": lambda *_, **__: None,
    "str": _text,
    "Int": int,
    "Float": float,
    "Bool": bool,
    "item": lambda one: one,
    "detach": lambda one: one,
    "clone": lambda one, *_, **__: one,
    "alias": lambda one: one,
})  # fmt: skip
"""By TorchScript's names: what is computed where no argument is a tensor."""
LIST_OPERATORS = frozenset(
    ("append", "extend", "insert", "_set_item", "slice", "copy", "len", "pop", "reverse", "list")
)
"""Those that take a list of whatever it holds, and whatever is put into it."""
