"""Learned tables with a row for each position, read at any number of positions.

Up to as many positions as there are rows, position k has row k. Beyond, positions lie evenly between the first row and
the last, and rows are interpolated linearly: no table limits which networks a metanetwork reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["table_row", "table_rows"]


def table_rows(table: Tensor, count: int) -> Tensor:
    """The rows of ``count`` positions, [count, …], of a table [rows, …] with one row at least."""
    if count <= len(table):
        return table[:count]
    places = torch.arange(count, device=table.device, dtype=table.dtype) * ((len(table) - 1) / (count - 1))
    return _between(table, places)


def table_row(table: Tensor, position: int, count: int) -> Tensor:
    """The row of one of ``count`` positions, […]; one behind the last counts as the last."""
    position = max(0, min(position, count - 1))
    if count <= len(table):
        return table[position]
    place = position * ((len(table) - 1) / (count - 1))
    return _between(table, torch.tensor([place], device=table.device, dtype=table.dtype))[0]


def _between(table: Tensor, places: Tensor) -> Tensor:
    below = places.floor().long().clamp(max=max(len(table) - 2, 0))
    above = (below + 1).clamp(max=len(table) - 1)
    share = (places - below).reshape(-1, *(1 for _ in table.shape[1:]))
    return table[below] * (1 - share) + table[above] * share
