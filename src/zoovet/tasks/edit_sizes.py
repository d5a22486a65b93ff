"""By how much a repairer usually changes weights, so that an edit that changes more can be refused.

The limit is the 99.9 % quantile of the changes of training networks, for each graph by itself. Of fewer than 1,000
networks that quantile is beyond all of them; then it is the upper prediction limit of a log-normal distribution, and
never below the largest. Changes are measured with hidden channels at unit size: of 104 ReLU networks on Fashion-MNIST
whose trojans were repaired well, one changed by 54 times the norm of its weights as they stand, since the refit of the
last layer had given a channel that hardly fires a large weight, and by at most 1.5 times in this measure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.stats import t as student
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, fold_batch_norms
from zoovet.networks.json_values import check_keys, number, whole_number
from zoovet.symmetry import normalizing_action
from zoovet.tasks.checkpoints import Description

__all__ = ["MAX_NETWORKS", "EditSize", "EditSizes", "edit_sizes_of", "edit_sizes_to_json", "scale_free_changes"]

MAX_NETWORKS = 1024
"""Training networks whose edits are looked at, evenly chosen, at most."""

_SHARE = 0.999
_LEAST_SIZE = 1e-3
_KEY = "scale_free_edit_sizes"
_NAMES = ("limit", "num_networks")


@dataclass(frozen=True)
class EditSize:
    """What changes of the weights of one graph's networks are usual.

    Attributes:
        limit: The 99.9 % quantile of their changes, by :func:`scale_free_changes`; greater than 0.
        num_networks: Networks that it rests on.
    """

    limit: float
    num_networks: int

    @classmethod
    def of(cls, changes: Tensor) -> EditSize | None:
        """That of networks that an editor changed; ``None`` of fewer than two, or where nothing was changed.

        Args:
            changes: By :func:`scale_free_changes`, [n], finite.
        """
        count = len(changes)
        if count < 2 or not bool((changes > 0).any()):
            return None
        values = changes.double()
        if count * (1 - _SHARE) >= 1:
            return cls(float(torch.quantile(values, _SHARE)), count)
        logs = values.clamp(min=1e-12).log()
        spread = float(logs.std()) * math.sqrt(1 + 1 / count)
        limit = math.exp(min(100.0, float(logs.mean()) + float(student.ppf(_SHARE, count - 1)) * spread))
        return cls(max(limit, float(values.max())), count)


EditSizes = dict[Graph, EditSize]
"""Of each graph of which it is known."""


def edit_sizes_to_json(sizes: EditSizes, graphs: Sequence[Graph]) -> dict[str, Any]:
    """A checkpoint's description's entry, which :func:`edit_sizes_of` reads: one for each of its graphs, or null."""
    return {_KEY: [asdict(sizes[graph]) if graph in sizes else None for graph in graphs]}


def edit_sizes_of(description: Description, graphs: Sequence[Graph]) -> EditSizes:
    """What a checkpoint says; nothing where it is of an earlier version.

    Args:
        description: The checkpoint's.
        graphs: Its graphs.

    Raises:
        ZoovetError: It is damaged.
    """
    found = description.description.get(_KEY, [None] * len(graphs))
    where = f"{description.path}: its {_KEY}"
    if not isinstance(found, list) or len(found) != len(graphs):
        raise ZoovetError(f"{where} must be a list with an entry for each of its {len(graphs)} graphs")
    sizes = {}
    for graph, entry in zip(graphs, found, strict=True):
        if entry is not None:
            values = check_keys(entry, _NAMES, _NAMES, where)
            sizes[graph] = EditSize(number(values["limit"], where), whole_number(values["num_networks"], where))
    return sizes


def scale_free_changes(before: Networks, after: Networks) -> Tensor:
    """Norm of each network's change over that of its weights, every hidden channel brought to unit size first.

    A channel's size is the norm of what ``before`` makes it of, its bias included, and both networks are rescaled by
    it: what a channel that hardly fires is multiplied with says little of how much an edit changes, and neither does
    how a network was scaled. Channels below a thousandth of their layer's usual size count as of that size.

    Args:
        before: The networks.
        after: The same, edited.

    Returns:
        float64 [B], on the CPU.
    """
    if not before.graph.is_chain:
        return _changes_in_normal_form(before, after)
    changes, norms = (torch.zeros(len(before), dtype=torch.float64, device=before.device) for _ in range(2))
    incoming: Tensor | None = None
    for layer in range(len(before.weights)):
        pairs = [(networks.weights[layer].double(), networks.biases[layer].double()) for networks in (before, after)]
        if incoming is not None:
            pairs = [(_times(weight, incoming.unsqueeze(1)), bias) for weight, bias in pairs]
        if layer < len(before.weights) - 1:
            weight, bias = pairs[0]
            sizes = (weight.flatten(2).square().sum(dim=2) + bias.square()).sqrt()
            usual = sizes.square().mean(dim=1, keepdim=True).sqrt()
            incoming = torch.maximum(sizes, _LEAST_SIZE * usual).clamp(min=1e-30)
            pairs = [(_times(weight, 1 / incoming), bias / incoming) for weight, bias in pairs]
        flat, edited = (torch.cat([weight.flatten(1), bias], dim=1) for weight, bias in pairs)
        changes = changes + (edited - flat).square().sum(dim=1)
        norms = norms + flat.square().sum(dim=1)
    return (changes / norms.clamp(min=1e-30)).sqrt().cpu()


def _changes_in_normal_form(before: Networks, after: Networks) -> Tensor:
    """The same for networks that are no chains: both scaled as the first one's normal form is, batch norms folded."""
    first, second = (fold_batch_norms(networks.detach().to(dtype=torch.float64)) for networks in (before, after))
    action = normalizing_action(first)
    own, edited = (action(networks).flat() for networks in (first, second))
    shares: Tensor = (edited - own).norm(dim=1) / own.norm(dim=1).clamp(min=1e-30)
    return shares.cpu()


def _times(weight: Tensor, factors: Tensor) -> Tensor:
    """A weight [B, out, in, …] times factors of its leading axes."""
    return weight * factors.reshape(*factors.shape, *[1] * (weight.ndim - factors.ndim))
