"""LabelledPopulation: networks with one known number each, such as a SIREN's class or a CNN's test accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.tasks.network_pool import NetworkPool
from zoovet.zoo import Zoo

__all__ = ["LabelledPopulation", "is_missing", "load_labelled"]


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledPopulation(NetworkPool):
    """Networks of any graphs, each with a label.

    Attributes:
        labels: [n], what a column of the zoo says of each network: int64 of an integer column (classes, indices of
            images), else float32 (accuracies). On the CPU.
    """

    labels: Tensor

    @classmethod
    def of_zoo(cls, zoo: Zoo, column: str) -> LabelledPopulation:
        """Read a zoo's networks into memory.

        Args:
            zoo: The zoo, or one split of it.
            column: Where the labels are: ``label``, ``clean_accuracy``, ….

        Raises:
            ZoovetError: A network has no label; the message names the first and how many there are.
        """
        values = zoo.column(column)
        missing = np.flatnonzero(is_missing(values))
        if len(missing):
            raise ZoovetError(
                f"{len(missing)} of {len(zoo)} networks of the zoo {zoo.path} have no {column}, the first "
                f"{zoo.column('network_id')[missing[0]]!r}; build or import a zoo whose rows have it"
            )
        kind = torch.int64 if values.dtype.kind == "i" else torch.float32
        return cls(**cls.stored(zoo), labels=torch.from_numpy(values.copy()).to(kind))

    def _known(self) -> Tensor:
        return self.labels


def load_labelled(zoo: Zoo, column: str) -> tuple[LabelledPopulation, LabelledPopulation]:
    """A zoo's training and validation networks with their labels; the test split is not read.

    Args:
        zoo: The zoo, opened; its networks may be of several graphs.
        column: Where the labels are.

    Raises:
        ZoovetError: One of the two splits is empty, networks of one base are in both, or a network has no label.
    """
    train, validation = zoo.split("train"), zoo.split("validation")
    for name, split in (("train", train), ("validation", validation)):
        if len(split) == 0:
            raise ZoovetError(f"the {name} split of the zoo {zoo.path} is empty; build a larger zoo")
    shared = np.intersect1d(train.column("base_id"), validation.column("base_id"))
    if len(shared):
        raise ZoovetError(
            f"the splits of the zoo {zoo.path} overlap: networks of base {shared[0]} are in train and in validation"
            f"{f', and of {len(shared) - 1} more bases' if len(shared) > 1 else ''}; split it by base_id"
        )
    return LabelledPopulation.of_zoo(train, column), LabelledPopulation.of_zoo(validation, column)


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a numeric column of a zoo is null: bool [n]. Missing integers are −1 (no label is below 0), numbers NaN."""
    missing: NDArray[np.bool_] = np.isnan(values) if values.dtype.kind == "f" else values < 0
    return missing
