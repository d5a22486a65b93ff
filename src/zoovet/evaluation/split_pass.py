"""What evaluations of all tasks have in common: going through a test split's networks graph by graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.zoo import Zoo

__all__ = ["by_network", "by_place", "require_networks"]

_CHUNK = 128
"""Networks that go through a model at a time."""


def require_networks(zoo: Zoo, what: str) -> None:
    """Check that there is something to measure.

    Raises:
        ZoovetError: The zoo is empty; the message says that ``what`` was to be evaluated.
    """
    if len(zoo) == 0:
        raise ZoovetError(f"the zoo {zoo.path} has no networks to evaluate {what} on; its recipe's test split is empty")


def by_network(zoo: Zoo, measure: Callable[[Networks], Tensor]) -> Tensor:
    """Measure every network, some of one graph at a time; see :func:`by_place`."""
    return by_place(zoo, lambda networks, _: measure(networks))


def by_place(zoo: Zoo, measure: Callable[[Networks, NDArray[np.int64]], Tensor]) -> Tensor:
    """Measure every network, some of one graph at a time.

    Args:
        zoo: At least one network.
        measure: From B networks of one graph and their places in the zoo to [B, …], the same shape for every graph.

    Returns:
        [n, …] in the zoo's order, on the CPU, without gradients.
    """
    parts, order = [], []
    for networks, places in zoo.batches_by_graph():
        order.append(places)
        for start in range(0, len(networks), _CHUNK):
            chosen = slice(start, start + _CHUNK)
            parts.append(measure(networks[chosen], places[chosen]).detach().cpu())
    gathered = torch.cat(parts)
    result = torch.empty_like(gathered)
    result[torch.from_numpy(np.concatenate(order))] = gathered
    return result
