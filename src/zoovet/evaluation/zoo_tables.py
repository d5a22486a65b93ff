"""What a zoo's networks reach, by what they are: accuracies and ASRs by family, image set, attack, training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.zoo import Zoo

__all__ = ["GROUPED_BY", "ZooGroup", "zoo_groups", "zoo_page"]

GROUPED_BY = (
    *("family", "dataset", "attack", "origin", "activation", "optimizer", "rate_schedule", "augmentation"),
    "input_scaling",
)
"""Columns that networks are grouped by, where a zoo knows them."""

_LOW = 0.1


@dataclass(frozen=True)
class ZooGroup:
    """Means over the networks that have one value of a column; NaN where there are none.

    Attributes:
        name: The value.
        num_bases: Bases.
        healthy_accuracy: Clean accuracy of the healthy networks.
        trojaned_accuracy: Clean accuracy of the trojaned ones.
        asr: ASR of the trojaned ones.
        low_asr: The ASR that a tenth of them stays below.
        healthy_asr: How often the same triggers change what their healthy siblings answer to the target.
        ra: RA of the trojaned ones.
    """

    name: str
    num_bases: int
    healthy_accuracy: float
    trojaned_accuracy: float
    asr: float
    low_asr: float
    healthy_asr: float
    ra: float


def zoo_groups(zoo: Zoo, column: str) -> list[ZooGroup]:
    """The groups of a column, by name; networks of which it is not known are in none."""
    values = zoo.column(column)
    names = sorted({str(value) for value in values if value is not None})
    return [_group(zoo, name, np.array([value == name for value in values], dtype=bool)) for name in names]


def _group(zoo: Zoo, name: str, chosen: NDArray[np.bool_]) -> ZooGroup:
    healthy, trojaned = chosen & ~zoo.column("poisoned"), chosen & zoo.column("poisoned")
    asr = zoo.column("asr")[trojaned]
    return ZooGroup(
        name=name,
        num_bases=len(np.unique(zoo.column("base_id")[chosen])),
        healthy_accuracy=_mean(zoo.column("clean_accuracy")[healthy]),
        trojaned_accuracy=_mean(zoo.column("clean_accuracy")[trojaned]),
        asr=_mean(asr),
        low_asr=float(np.nanquantile(asr, _LOW)) if np.isfinite(asr).any() else float("nan"),
        healthy_asr=_mean(zoo.column("asr")[healthy]),
        ra=_mean(zoo.column("ra")[trojaned]),
    )


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def zoo_page(zoo: Zoo) -> str:
    """A zoo in Markdown: a table for each column that it knows, and bases by family and image set.

    Raises:
        ZoovetError: It holds no networks with accuracies.
    """
    if not np.isfinite(zoo.column("clean_accuracy")).any():
        raise ZoovetError(f"the zoo {zoo.path} has no networks with accuracies: there is nothing to sum up")
    everything = _group(zoo, "all", np.ones(len(zoo), dtype=bool))
    lines = [f"{len(zoo)} networks of {everything.num_bases} bases.", "", *_table("", [everything])]
    for column in GROUPED_BY:
        if groups := zoo_groups(zoo, column):
            lines += ["", *_table(column.replace("_", " "), groups)]
    if any(value is not None for value in zoo.column("family")):
        lines += ["", "Bases, and the mean clean accuracy of their healthy networks:", "", *_crossed(zoo)]
    return "\n".join(lines)


def _table(title: str, groups: Sequence[ZooGroup]) -> list[str]:
    rows = [
        f"| {title} | bases | accuracy, healthy | accuracy, trojaned | ASR | lowest tenth | ASR, healthy | RA |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for group in groups:
        figures = (
            *(group.healthy_accuracy, group.trojaned_accuracy, group.asr, group.low_asr, group.healthy_asr, group.ra),
        )
        rows.append(f"| {printable(group.name, 60)} | {group.num_bases} | {' | '.join(map(_shown, figures))} |")
    return rows


def _crossed(zoo: Zoo) -> list[str]:
    families, datasets = (zoo_groups(zoo, column) for column in ("family", "dataset"))
    rows = ["| | " + " | ".join(printable(dataset.name, 60) for dataset in datasets) + " |"]
    rows.append("|---" * (len(datasets) + 1) + "|")
    for family in families:
        own = zoo.select(zoo.column("family") == family.name)
        by_name = {group.name: group for group in zoo_groups(own, "dataset")}
        cells = [by_name.get(dataset.name) for dataset in datasets]
        shown = ["–" if cell is None else f"{cell.num_bases} ({_shown(cell.healthy_accuracy)})" for cell in cells]
        rows.append(f"| {printable(family.name, 60)} | {' | '.join(shown)} |")
    return rows


def _shown(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
