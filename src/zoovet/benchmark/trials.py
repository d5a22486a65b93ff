"""The trials of a benchmark: what is fitted on which networks, and where its results lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.benchmark.config import BenchmarkConfig
from zoovet.benchmark.detectors import DETECTORS
from zoovet.benchmark.repairers import REPAIRERS
from zoovet.errors import ZoovetError
from zoovet.zoo import Zoo

__all__ = ["Trial", "attacks_of", "detection_trials", "families_of", "repair_trials", "trained_on"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One detector or repairer, fitted once.

    Attributes:
        zoo: Name of the zoo.
        model: Name of the detector or repairer.
        seed: Of its training.
        left_out: Family of attacks whose bases it is not trained on, or ``None``.
        num_bases: Training bases, or ``None`` for all.
    """

    zoo: str
    model: str
    seed: int
    left_out: str | None = None
    num_bases: int | None = None

    def folder(self, root: Path) -> Path:
        """Where its results lie below ``root``."""
        name = f"seed-{self.seed}"
        if self.left_out is not None:
            name += f"-without-{self.left_out}"
        if self.num_bases is not None:
            name += f"-{self.num_bases}-bases"
        return root / self.zoo / self.model / name

    def __str__(self) -> str:
        parts = [f"{self.model} on {self.zoo}", f"seed {self.seed}"]
        parts += [] if self.left_out is None else [f"without {self.left_out}"]
        parts += [] if self.num_bases is None else [f"{self.num_bases} bases"]
        return ", ".join(parts)


def attacks_of(zoo: Zoo) -> NDArray[Any]:
    """The family of attacks of every network's base, [n] text; ``unknown`` where the zoo does not say."""
    attacks = []
    for place, attack in enumerate(zoo.column("attack")):
        if attack is None and (trigger := zoo.trigger(place)) is not None:
            attack = trigger.attack  # zoos of version 0.1 have no such column
        attacks.append(str(attack or "unknown"))
    return np.array(attacks)


def families_of(zoo: Zoo) -> tuple[str, ...]:
    """The families of attacks that a zoo's poisoned networks have, in alphabetical order."""
    return tuple(sorted(set(attacks_of(zoo)[zoo.column("poisoned")].tolist())))


def detection_trials(config: BenchmarkConfig, name: str, zoo: Zoo) -> Iterator[Trial]:
    """The trials of a zoo's detectors, those on all networks first; families that a zoo does not have are passed over.

    Raises:
        ZoovetError: Fewer training bases than a size asks for, or no second family.
    """
    if "seen" in config.parts or "transfer" in config.parts:
        for model in config.detectors:
            yield from (Trial(zoo=name, model=model, seed=seed) for seed in _seeds(config, DETECTORS[model].seeded))
    if "unseen" in config.parts:
        yield from _unseen_trials(config, name, zoo)
    if "sizes" in config.parts:
        yield from _sized_trials(config, name, zoo)


def _unseen_trials(config: BenchmarkConfig, name: str, zoo: Zoo) -> Iterator[Trial]:
    known = families_of(zoo)
    if len(known) < 2:
        raise ZoovetError(f"the zoo {zoo.path} has attacks of {len(known)} family; leaving one out needs two")
    for model in config.trained_unseen:
        for seed in _seeds(config, DETECTORS[model].seeded):
            for family in config.families or known:
                if family in known:
                    yield Trial(zoo=name, model=model, seed=seed, left_out=family)


def _sized_trials(config: BenchmarkConfig, name: str, zoo: Zoo) -> Iterator[Trial]:
    available = len(set(zoo.split("train").column("base_id")))
    for size in config.sizes:
        if size > available:
            raise ZoovetError(f"the zoo {zoo.path} has {available} training bases, but sizes asks for {size}")
        for model in config.trained_on_fewer:
            for seed in config.seeds:  # each draws bases of its own, so that it matters to all detectors
                yield Trial(zoo=name, model=model, seed=seed, num_bases=size)


def repair_trials(config: BenchmarkConfig, name: str) -> Iterator[Trial]:
    """The trials of a zoo's repairers."""
    if "repair" in config.parts:
        for model in config.repairers:
            yield from (Trial(zoo=name, model=model, seed=seed) for seed in _seeds(config, REPAIRERS[model].seeded))


def trained_on(trial: Trial, zoo: Zoo) -> Zoo:
    """The networks that a trial may see: training and validation bases, without the family that is left out.

    Which bases a smaller training has depends on its seed, and a smaller one's are among a larger one's.
    """
    keep = zoo.column("split") != "test"
    if trial.left_out is not None:
        keep &= attacks_of(zoo) != trial.left_out
    if trial.num_bases is not None:
        is_train = zoo.column("split") == "train"
        bases = np.unique(zoo.column("base_id")[is_train & keep])
        drawn = np.random.default_rng([trial.seed, 11]).permutation(bases)[: trial.num_bases]
        keep &= ~is_train | np.isin(zoo.column("base_id"), drawn)
    return zoo.select(keep)


def _seeds(config: BenchmarkConfig, seeded: bool) -> tuple[int, ...]:
    return config.seeds if seeded else config.seeds[:1]
