"""A dictionary that stays as it is, so that what holds one can be hashed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

__all__ = ["FrozenMapping"]

_Value = TypeVar("_Value")


class FrozenMapping(dict[str, _Value]):
    """Names and hashable values, in the order of the names; reads as fast as a ``dict``.

    Args:
        items: What it holds.
    """

    def __init__(self, items: Mapping[str, _Value] | Iterable[tuple[str, _Value]] = ()) -> None:
        super().__init__(sorted(dict(items).items()))

    def __hash__(self) -> int:  # type: ignore[override]  # a dict says that it has none
        return hash(tuple(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMapping, (dict(self),)

    def _refuse(self, *arguments: object, **options: object) -> NoReturn:
        raise TypeError("a FrozenMapping does not change; make another one")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse
