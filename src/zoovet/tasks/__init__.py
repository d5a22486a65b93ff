"""Tasks: what metanetworks are trained for. Detection of trojaned networks, and their repair.

The names below are imported when they are first used: training needs Lightning, which takes seconds to import, while a
trained detector or repairer does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoovet.tasks.detection import DetectionConfig, train_detector
    from zoovet.tasks.detector import Detector
    from zoovet.tasks.repair import RepairConfig, train_repairer
    from zoovet.tasks.repairer import Repairer
    from zoovet.tasks.training_config import TrainingConfig, TrainingProgress

__all__ = [
    "DetectionConfig",
    "Detector",
    "RepairConfig",
    "Repairer",
    "TrainingConfig",
    "TrainingProgress",
    "train_detector",
    "train_repairer",
]

_HOMES = {
    "DetectionConfig": "detection",
    "Detector": "detector",
    "RepairConfig": "repair",
    "Repairer": "repairer",
    "TrainingConfig": "training_config",
    "TrainingProgress": "training_config",
    "train_detector": "detection",
    "train_repairer": "repair",
}


def __getattr__(name: str) -> Any:
    """Import a public name's home when the name is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
