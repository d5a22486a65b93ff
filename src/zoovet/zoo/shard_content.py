"""What a shard must hold, against what one holds: which networks, of which bases, in which splits, from which seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from zoovet.printable import printable

__all__ = ["first_difference", "foreign_seed"]

_NAMES = {"base_id": "base", "network_id": "network"}


def first_difference(facts: Mapping[str, NDArray[Any]], expected: Mapping[str, Sequence[Any]]) -> str:
    """The first row that has another value than it must have, in words; empty where none has.

    Args:
        facts: A shard's columns, [n] each.
        expected: Some of them as they must be, a value for each row.
    """
    for name, values in expected.items():
        column, word = facts[name], _NAMES.get(name, name)
        if len(column) != len(values):
            return f"has {len(column)} networks, expected {len(values)}"
        for row, (found, wanted) in enumerate(zip(column.tolist(), values, strict=True)):
            if found != wanted:
                return f"has the {word} {printable(found)} in row {row}, expected {wanted}"
    return ""


def foreign_seed(facts: Mapping[str, NDArray[Any]], is_own: Callable[[int, int], bool]) -> str:
    """The first seed that the recipe cannot have drawn, in words; empty where there is none.

    Args:
        facts: A shard's columns, [n] each.
        is_own: Whether a base (its number) can have a seed.
    """
    for base_id, seed in dict.fromkeys(zip(facts["base_id"].tolist(), facts["seed"].tolist(), strict=True)):
        if not is_own(base_id, seed):
            return f"has the seed {seed} for the base {base_id}, which this recipe does not draw"
    return ""
