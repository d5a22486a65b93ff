"""Choosing a rival repairer's settings: what repairs a zoo's validation networks best, by ScaleGMN's own measure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoovet.benchmark.figures import repair_figures
from zoovet.benchmark.repairers import RepairerEntry, RepairFitting, Settings
from zoovet.errors import ZoovetError
from zoovet.evaluation import evaluate_repair
from zoovet.files import write_json
from zoovet.json_files import read_json_object, typed_value
from zoovet.zoo import Zoo

__all__ = ["Choice", "choose_settings"]

_NUM_IMAGES = 1000
"""Training images, evenly spaced, that the choice is measured on."""


@dataclass(frozen=True)
class Choice:
    """What was tried and chosen for one repairer on one zoo.

    Attributes:
        settings: The best.
        asked: What was to be tried.
        tried: All that gave finite weights, with their figures: ``settings``, ``asr``, ``lost``, ``healthy_lost``,
            ``score``.
        num_bases: Validation bases that they were tried on.
    """

    settings: Settings
    asked: tuple[Settings, ...]
    tried: tuple[dict[str, Any], ...]
    num_bases: int

    @classmethod
    def load(cls, path: Path) -> Choice:
        """Read what :meth:`save` wrote.

        Raises:
            ZoovetError: It is damaged.
        """
        where = f"{path} is no choice of settings"
        try:
            data = read_json_object(path)
            return cls(
                typed_value(data, "settings", dict, where),
                tuple(typed_value(data, "asked", list, where)),
                tuple(typed_value(data, "tried", list, where)),
                typed_value(data, "num_bases", int, where),
            )
        except ZoovetError as error:
            raise ZoovetError(f"{error}; delete {path.parent}") from None

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(self))

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self.settings.items())


def choose_settings(entry: RepairerEntry, given: RepairFitting, networks: Zoo) -> Choice:
    """Try every setting of a repairer on validation networks; the one of the least score is chosen.

    Args:
        entry: The repairer.
        given: What it is made with, but for the settings; ``config`` says what a point of accuracy counts against one
            of ASR.
        networks: Validation networks, both of each base.

    Raises:
        ZoovetError: No setting gave finite weights.
    """
    tried, failure = list[dict[str, Any]](), None
    for settings in entry.settings:
        repairer = entry.make(replace(given, settings=settings))
        try:
            results = evaluate_repair(repairer, networks, given.images, num_images=_NUM_IMAGES, name=entry.title)
        except ZoovetError as error:  # a rate so high that weights overflow is a bad choice, no end of the benchmark
            failure = error
            continue
        figures = repair_figures([results])
        means = {name: figures[name].mean for name in ("asr", "lost", "healthy_lost")}
        tried.append({"settings": dict(settings), **means, "score": given.config.score(**means)})
    if failure is not None and not tried:
        raise failure
    best = min(tried, key=lambda one: one["score"])
    return Choice(best["settings"], entry.settings, tuple(tried), len(np.unique(networks.column("base_id"))))
