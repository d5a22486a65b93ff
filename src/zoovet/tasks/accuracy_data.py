"""Which networks of a zoo test accuracies are predicted for: by activation, and by checkpoint of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.layer_spec import ACTIVATIONS
from zoovet.tasks.labelled import LabelledPopulation, load_labelled
from zoovet.zoo import Zoo

__all__ = ["AccuracyData", "load_accuracies", "select_networks"]

_SPLITS = ("train", "validation")
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
        ZoovetError: The zoo has no network of an activation asked for, or several networks of one training without
            saying after how many steps each, so that there is no last one.
    """
    if data.activations is not None:
        activations = zoo.column("activation").astype(str)
        for name in data.activations:
            if name not in activations:
                known = " and ".join(sorted(set(activations))) or "none at all"
                raise ZoovetError(
                    f"the zoo {zoo.path} has no network with activation {name!r}, only {known}; change data.activations"
                )
        zoo = zoo.select(np.isin(activations, data.activations))
    return zoo if data.checkpoints == "all" else zoo.select(_last_of_each_base(zoo))


def load_accuracies(zoo: Zoo, data: AccuracyData) -> tuple[LabelledPopulation, LabelledPopulation]:
    """A zoo's training and validation networks with their test accuracies; the test split is not read.

    Args:
        zoo: The zoo, opened.
        data: Which of its networks count.

    Raises:
        ZoovetError: As for :func:`select_networks`; a network has no accuracy or one outside [0, 1]; a split has fewer
            than two networks; the validation networks all have the same accuracy; the splits overlap.
    """
    populations = load_labelled(select_networks(_trained_on(zoo), data), "clean_accuracy")
    for name, population in zip(_SPLITS, populations, strict=True):
        if len(population) < 2:
            raise ZoovetError(
                f"the {name} split of the zoo {zoo.path} has only {len(population)} network with data.activations and "
                f"data.checkpoints as they are; at least 2 are needed"
            )
        wrong = torch.nonzero((population.labels < 0) | (population.labels > 1)).flatten()
        if len(wrong):
            place = int(wrong[0])
            raise ZoovetError(
                f"the network {population.network_ids[place]} of the zoo {zoo.path} has the clean_accuracy "
                f"{float(population.labels[place]):g}; accuracies must lie in [0, 1]"
            )
    train, validation = populations
    if bool((validation.labels == validation.labels[0]).all()):
        raise ZoovetError(
            f"the {len(validation)} validation networks of the zoo {zoo.path} all have the clean_accuracy "
            f"{float(validation.labels[0]):g}, so that no order of them can be predicted; build a larger zoo"
        )
    return train, validation


def _trained_on(zoo: Zoo) -> Zoo:
    return zoo.select(np.isin(zoo.column("split").astype(str), _SPLITS))


def _last_of_each_base(zoo: Zoo) -> NDArray[np.int64]:
    """Places of each base's network after most steps, in the order of the zoo."""
    bases, steps = zoo.column("base_id"), zoo.column("step")
    order = np.lexsort((steps, bases))
    is_last = np.ones(len(zoo), dtype=bool)
    is_last[:-1] = np.diff(bases[order]) != 0
    last: NDArray[np.int64] = np.sort(order[is_last])
    if len(last) < len(zoo) and (steps < 0).any():
        raise ZoovetError(
            f"the zoo {zoo.path} has several networks of one training but does not say after how many steps each "
            f"(column step), so that there is no last one; set data.checkpoints to all"
        )
    return last
