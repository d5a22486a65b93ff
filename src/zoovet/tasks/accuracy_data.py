"""Which networks of a zoo test accuracies are predicted for: by activation, and by checkpoint of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.spec import ACTIVATIONS
from zoovet.zoo import Zoo

__all__ = ["AccuracyData", "select_networks"]

_CHECKPOINTS = ("last", "all")


@dataclass(frozen=True, kw_only=True)
class AccuracyData:
    """Which networks of a zoo count, in every split.

    Attributes:
        activations: Activations of the networks, several for a mixed population; null takes all that the zoo has.
        checkpoints: ``last``: of each training the checkpoint after most steps, as in the published protocol; ``all``:
            every one.

    Raises:
        ZoovetError: An activation or a choice of checkpoints that does not exist, or no activation at all.
    """

    activations: tuple[str, ...] | None = None
    checkpoints: Literal["last", "all"] = "last"

    def __post_init__(self) -> None:
        if self.activations is not None and not self.activations:
            raise ZoovetError("data.activations must name at least one activation, or be null for all")
        for name in self.activations or ():
            if name not in ACTIVATIONS:
                raise ZoovetError(f"data.activations: {name!r} is unknown{nearest(name, ACTIVATIONS)}")
        if self.checkpoints not in _CHECKPOINTS:
            raise ZoovetError(
                f"data.checkpoints {self.checkpoints!r} is unknown{nearest(self.checkpoints, _CHECKPOINTS)}"
            )


def select_networks(zoo: Zoo, data: AccuracyData) -> Zoo:
    """The networks of a zoo, or of one of its splits, that count.

    Args:
        zoo: The zoo or a split of it.
        data: Which networks count.

    Raises:
        ZoovetError: The zoo has no test accuracies, some outside [0, 1], or no network of an activation asked for.
    """
    known = set(map(str, zoo.column("activation")))
    for name in data.activations or ():
        if name not in known:
            raise ZoovetError(
                f"the zoo {zoo.path} has no network with activation {name!r} here, only {' and '.join(sorted(known))}; "
                f"change data.activations"
            )
    if data.activations is not None:
        zoo = zoo.select(np.isin(zoo.column("activation").astype(str), data.activations))
    accuracies = zoo.column("clean_accuracy")
    wrong = ~((accuracies >= 0) & (accuracies <= 1))
    if wrong.any():
        place = int(np.argmax(wrong))
        found = "no clean_accuracy" if np.isnan(accuracies[place]) else f"the clean_accuracy {accuracies[place]:g}"
        raise ZoovetError(
            f"the network {zoo.column('network_id')[place]} of the zoo {zoo.path} has {found}; test accuracies in [0, 1] "
            f"are needed for every network, so build a zoo whose recipe has `kind: generalization`"
        )
    return zoo if data.checkpoints == "all" else zoo.select(_last_of_each_base(zoo))


def _last_of_each_base(zoo: Zoo) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Places of each base's network after most steps (of equal ones the first), in the order of the zoo."""
    bases, steps = zoo.column("base_id"), zoo.column("step")
    order = np.lexsort((np.arange(len(zoo)), -steps, bases))
    is_first = np.diff(bases[order], prepend=-1 - np.abs(bases).max(initial=0)) != 0
    return np.sort(order[is_first]).astype(np.int64)
