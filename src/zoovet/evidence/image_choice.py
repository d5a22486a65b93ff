"""Which of the reference images are used, where not all are."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["of_each_class", "thinned"]


def of_each_class(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Rows of at most ``count`` images of every class that occurs, and of eight images at least where there are."""
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    rows = torch.cat([order[labels[order] == label][:count] for label in labels.unique()])
    rest = order[~torch.isin(order, rows)]
    return torch.cat([rows, rest[: max(0, 8 - len(rows))]])


def thinned(rows: Tensor, labels: Tensor, most: int) -> Tensor:
    """At most so many of the rows: the first of every class, then the second, and so on."""
    if len(rows) <= most:
        return rows
    own = labels[rows]
    rank = torch.stack([(own[:place] == label).sum() for place, label in enumerate(own)])
    return rows[rank.argsort(stable=True)[:most].sort().values]
