"""Tasks: what metanetworks are trained for.

Detection of trojaned networks and their repair; classification and editing of INRs; prediction of a network's accuracy.
The names below are imported when they are first used: training needs Lightning, which takes seconds to import, while
what was trained does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoovet.tasks.accuracy_predictor import AccuracyPredictor
    from zoovet.tasks.classifier import Classifier
    from zoovet.tasks.detection import train_detector
    from zoovet.tasks.detection_config import DetectionConfig
    from zoovet.tasks.detector import Detector
    from zoovet.tasks.generalization import train_accuracy_predictor
    from zoovet.tasks.generalization_config import GeneralizationConfig
    from zoovet.tasks.inr_classification import train_classifier
    from zoovet.tasks.inr_classification_config import ClassificationConfig
    from zoovet.tasks.inr_editing import train_inr_editor
    from zoovet.tasks.inr_editing_config import EditingConfig
    from zoovet.tasks.inr_editor import InrEditor
    from zoovet.tasks.repair import train_repairer
    from zoovet.tasks.repair_config import RepairConfig
    from zoovet.tasks.repairer import TrainedRepairer
    from zoovet.tasks.training_config import TrainingConfig, TrainingProgress

__all__ = [
    "AccuracyPredictor",
    "ClassificationConfig",
    "Classifier",
    "DetectionConfig",
    "Detector",
    "EditingConfig",
    "GeneralizationConfig",
    "InrEditor",
    "RepairConfig",
    "TrainedRepairer",
    "TrainingConfig",
    "TrainingProgress",
    "train_accuracy_predictor",
    "train_classifier",
    "train_detector",
    "train_inr_editor",
    "train_repairer",
]

_HOMES = {
    "AccuracyPredictor": "accuracy_predictor",
    "ClassificationConfig": "inr_classification_config",
    "Classifier": "classifier",
    "DetectionConfig": "detection_config",
    "Detector": "detector",
    "EditingConfig": "inr_editing_config",
    "GeneralizationConfig": "generalization_config",
    "InrEditor": "inr_editor",
    "RepairConfig": "repair_config",
    "TrainedRepairer": "repairer",
    "TrainingConfig": "training_config",
    "TrainingProgress": "training_config",
    "train_accuracy_predictor": "generalization",
    "train_classifier": "inr_classification",
    "train_detector": "detection",
    "train_inr_editor": "inr_editing",
    "train_repairer": "repair",
}


def __getattr__(name: str) -> Any:
    """Import a public name's home when the name is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
