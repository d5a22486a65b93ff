"""Reading what a metanetwork returns, and measuring how far two of its outputs are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.symmetry.actions import Action
from zoovet.symmetry.checked_networks import description, tensors_of

__all__ = [
    "deviation_of_changes",
    "deviation_of_outputs",
    "read_changes",
    "read_outputs",
    "relative_difference",
]

_ROW_FLOOR = 1e-3
"""A row of changes smaller than this share of its tensor is measured against that share: zeros have no size."""
_TENSOR_FLOOR = 1e-6
"""The same for tensors, as a share of the largest change of the network."""


def read_outputs(output: Any, batches: Sequence[Networks]) -> list[Tensor]:
    """Split what an invariant metanetwork returned by graph.

    Args:
        output: Should be a float64 tensor [sum of B, …].
        batches: What it was given.

    Returns:
        For each of ``batches``, [B, numbers].

    Raises:
        ZoovetError: The output is something else; the message says what.
    """
    sizes = [len(batch) for batch in batches]
    if not isinstance(output, Tensor) or output.ndim == 0 or output.shape[0] != sum(sizes):
        got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ZoovetError(
            f"an invariant metanetwork must return a tensor [{sum(sizes)}, …], one row for each network, got {got}"
        )
    _require_float64(output)
    return list(torch.split(output.reshape(sum(sizes), -1), sizes))


def read_changes(output: Any, batches: Sequence[Networks]) -> list[Networks]:
    """Read what an equivariant metanetwork returned.

    Args:
        output: Should be the changes for each of ``batches``, or for the only one without a list around them.
        batches: What it was given.

    Returns:
        The changes for each of ``batches``.

    Raises:
        ZoovetError: The output is something else; the message says what.
    """
    changes = list(output) if isinstance(output, list | tuple) else [output]
    if len(changes) != len(batches) or not all(isinstance(change, Networks) for change in changes):
        raise ZoovetError(
            f"an equivariant metanetwork must return the weight changes as Networks, one for each of "
            f"the {len(batches)} graphs it is given, got {', '.join(type(change).__name__ for change in changes)}"
        )
    for change, batch in zip(changes, batches, strict=True):
        if change.graph != batch.graph or len(change) != len(batch):
            raise ZoovetError(
                f"the changes must be of {len(batch)} networks {description(batch)}, "
                f"got {len(change)} of {description(change)}"
            )
        _require_float64(tensors_of(change)[0])
    return changes


def relative_difference(first: Tensor | Networks, second: Tensor | Networks) -> float:
    """Give max |first − second| / max of both; 0 where both are 0, NaN where one of them is not finite."""
    one, other = (part if isinstance(part, Tensor) else part.flat() for part in (first, second))
    if not bool(torch.isfinite(one).all() and torch.isfinite(other).all()):
        return math.nan
    return _ratio((one - other).abs().amax(), torch.maximum(one.abs().amax(), other.abs().amax()))


def deviation_of_outputs(before: Tensor, after: Tensor) -> float:
    """Give max |after − before| / max |before|; infinite where ``after`` is not finite.

    Args:
        before: [B, numbers], the output for B networks.
        after: [B, numbers], the output for the same after an action.

    Returns:
        The relative deviation.
    """
    return _ratio((after - before).abs().amax(), before.abs().amax())


def deviation_of_changes(before: Networks, after: Networks, action: Action) -> float:
    """How far the changes ``after`` are from ``action(before)``: the measures of ``deviation_equivariant``.

    Args:
        before: The changes for B networks.
        after: The changes for the same after ``action``.
        action: How the networks were moved.

    Returns:
        The largest relative deviation; infinite where ``after`` is not finite.
    """
    expected, undone = tensors_of(action(before)), tensors_of(action.inverse()(after))
    largest = torch.stack([tensor.abs().amax() for tensor in tensors_of(before)]).amax()
    deviations = [0.0]
    for old, new, moved, back in zip(tensors_of(before), tensors_of(after), expected, undone, strict=True):
        size = torch.maximum(old.abs().amax(), _TENSOR_FLOOR * largest)
        deviations.append(
            _ratio((new - moved).abs().amax(), torch.maximum(moved.abs().amax(), _TENSOR_FLOOR * largest))
        )
        rows = old.abs().transpose(0, 1).flatten(1).amax(dim=1)
        differences = (back - old).abs().transpose(0, 1).flatten(1).amax(dim=1)
        deviations += [
            _ratio(difference, torch.maximum(row, _ROW_FLOOR * size))
            for difference, row in zip(differences, rows, strict=True)
        ]
    return max(deviations)


def _ratio(difference: Tensor, size: Tensor) -> float:
    """``difference / size``: 0 for 0 / 0, infinite where the difference is not finite or nothing should be there."""
    if not bool(torch.isfinite(difference)):
        return math.inf
    if float(difference) == 0:
        return 0.0
    return float(difference) / float(size) if float(size) > 0 else math.inf


def _require_float64(tensor: Tensor) -> None:
    if tensor.dtype != torch.float64:
        raise ZoovetError(
            f"symmetry is checked in float64, but the metanetwork returned {tensor.dtype}; it must compute in the "
            f"precision of the networks that it is given"
        )
