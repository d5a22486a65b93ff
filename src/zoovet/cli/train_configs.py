"""What a training's YAML holds: the task's own configuration, which task, and which zoo."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoovet.tasks import DetectionConfig, RepairConfig

__all__ = ["RUNS", "DetectionRun", "RepairRun", "TrainingData", "task_config"]


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What to train on.

    Attributes:
        zoo: Folder of the zoo.
    """

    zoo: Path


@dataclass(frozen=True, kw_only=True)
class DetectionRun(DetectionConfig):
    """A detector's training.

    Attributes:
        task: What is trained.
        data: What on.
    """

    task: Literal["detection"] = "detection"
    data: TrainingData


@dataclass(frozen=True, kw_only=True)
class RepairRun(RepairConfig):
    """A repairer's training.

    Attributes:
        task: What is trained.
        data: What on.
    """

    task: Literal["repair"] = "repair"
    data: TrainingData


RUNS: dict[str, type[DetectionRun] | type[RepairRun]] = {"detection": DetectionRun, "repair": RepairRun}
"""Every task's run, by the task's name."""


def task_config(run: DetectionRun | RepairRun) -> DetectionConfig | RepairConfig:
    """The task's own part of a run's configuration."""
    cls = DetectionConfig if isinstance(run, DetectionRun) else RepairConfig
    return cls(**{field.name: getattr(run, field.name) for field in dataclasses.fields(cls)})
