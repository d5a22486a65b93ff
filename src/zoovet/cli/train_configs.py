"""What a training's YAML holds: the task's own configuration, which task, and which zoo.

What trains is imported when it is called: Lightning takes seconds to import, and ``--help`` needs none of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from zoovet.errors import ZoovetError
from zoovet.tasks import (
    ClassificationConfig,
    DetectionConfig,
    EditingConfig,
    GeneralizationConfig,
    RepairConfig,
)
from zoovet.tasks.accuracy_data import AccuracyData
from zoovet.tasks.edited_images import load_source_images
from zoovet.tasks.inversion_images import needs_images
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.zoo import Zoo
from zoovet.zoo.builders import images_of

if TYPE_CHECKING:
    from zoovet.tasks import AccuracyPredictor, Classifier, Detector, InrEditor, TrainedRepairer
    from zoovet.tasks.strangers.detector import StrangerDetector
    from zoovet.tasks.training_config import Progress

__all__ = ["TASKS", "GeneralizationData", "InrData", "Place", "TrainingData", "TrainingTask", "task_config"]


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What to train on.

    Attributes:
        zoo: Folder of the zoo.
    """

    zoo: Path


@dataclass(frozen=True, kw_only=True)
class InrData(TrainingData):
    """What to train on.

    Attributes:
        canonicalize: Bring the phases of every SIREN into one interval before the metanetwork reads it.
    """

    canonicalize: bool = False


@dataclass(frozen=True, kw_only=True)
class GeneralizationData(AccuracyData, TrainingData):
    """What to train on.

    Attributes:
        zoo: Folder of the zoo.
        activations: Activations of the networks that count, several for a mixed population; null takes all.
        checkpoints: last: of each training the checkpoint after most steps, as in the published protocol; all: every
            one.
    """


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


@dataclass(frozen=True, kw_only=True)
class ClassificationRun(ClassificationConfig):
    """The training of a classifier of INRs.

    Attributes:
        task: What is trained.
        data: What on.
    """

    task: Literal["inr_classification"] = "inr_classification"
    data: InrData


@dataclass(frozen=True, kw_only=True)
class EditingRun(EditingConfig):
    """The training of an editor of INRs.

    Attributes:
        task: What is trained.
        data: What on.
    """

    task: Literal["inr_editing"] = "inr_editing"
    data: InrData


@dataclass(frozen=True, kw_only=True)
class GeneralizationRun(GeneralizationConfig):
    """The training of a predictor of test accuracies.

    Attributes:
        task: What is trained.
        data: What on.
    """

    task: Literal["generalization"] = "generalization"
    data: GeneralizationData


@dataclass(frozen=True, kw_only=True)
class StrangerData(TrainingData):
    """What to train on.

    Attributes:
        zoo: Folder of the park, or of what is built of it so far.
        evidence: Folder in which evidence is kept and looked for, so that it serves other runs, and goes on as the park
            grows; null keeps it in the run's folder.
        workers: Processes that seek evidence, of one thread each.
    """

    evidence: Path | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ZoovetError(f"data.workers must be at least 1, got {self.workers}")


@dataclass(frozen=True, kw_only=True)
class StrangerRun(StrangerConfig):
    """The training of a detector for strangers.

    Attributes:
        task: What is trained.
        data: What on.
    """

    task: Literal["strangers"] = "strangers"
    data: StrangerData


class Trained(Protocol):
    """What a training leaves: it knows how it was made."""

    @property
    def description(self) -> dict[str, Any]:
        """JSON values, ``validation`` among them."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a training happens.

    Attributes:
        out: Folder of the run.
        device: ``cpu``, ``cuda`` or ``cuda:K``.
        data_root: Folder of image datasets; ``None``: the usual one.
        progress: Told how it goes.
    """

    out: Path
    device: str
    data_root: Path | None
    progress: Progress | None


@dataclass(frozen=True)
class TrainingTask:
    """A task that ``zoovet train`` knows.

    Attributes:
        config: The task's own configuration.
        run: The same with ``task`` and ``data``, as YAML has it.
        train: From a configuration, its data, the opened zoo and a place to what was trained.
        shown: Validation figures that the progress bar has room for.
        takes_growing: Whether it also learns on what is built so far of a zoo that still grows.
    """

    config: type[Any]
    run: type[Any]
    train: Callable[[Any, Any, Zoo, Place], Trained]
    shown: tuple[str, ...]
    takes_growing: bool = False


def _train_detector(config: DetectionConfig, data: TrainingData, zoo: Zoo, place: Place) -> Detector:
    from zoovet.tasks import train_detector

    images = images_of(zoo, place.data_root).train if needs_images(config.metanetwork) else None
    return train_detector(config, zoo, place.out, device=place.device, progress=place.progress, images=images)


def _train_repairer(config: RepairConfig, data: TrainingData, zoo: Zoo, place: Place) -> TrainedRepairer:
    from zoovet.tasks import train_repairer

    images = images_of(zoo, place.data_root).train
    return train_repairer(config, zoo, images, place.out, device=place.device, progress=place.progress)


def _train_classifier(config: ClassificationConfig, data: InrData, zoo: Zoo, place: Place) -> Classifier:
    from zoovet.tasks import train_classifier

    return train_classifier(
        config, zoo, place.out, canonicalized=data.canonicalize, device=place.device, progress=place.progress
    )


def _train_inr_editor(config: EditingConfig, data: InrData, zoo: Zoo, place: Place) -> InrEditor:
    from zoovet.tasks import train_inr_editor

    return train_inr_editor(
        config,
        zoo,
        load_source_images(zoo, place.data_root),
        place.out,
        canonicalized=data.canonicalize,
        device=place.device,
        progress=place.progress,
    )


def _train_predictor(
    config: GeneralizationConfig, data: GeneralizationData, zoo: Zoo, place: Place
) -> AccuracyPredictor:
    from zoovet.tasks import train_accuracy_predictor

    return train_accuracy_predictor(
        config,
        zoo,
        place.out,
        data=AccuracyData(activations=data.activations, checkpoints=data.checkpoints),
        device=place.device,
        progress=place.progress,
    )


def _train_stranger_detector(config: StrangerConfig, data: StrangerData, zoo: Zoo, place: Place) -> StrangerDetector:
    from zoovet.tasks.strangers.run import train_stranger_detector

    return train_stranger_detector(
        config,
        zoo,
        place.out,
        evidence=data.evidence,
        workers=data.workers,
        data_root=place.data_root,
        progress=place.progress,
    )


TASKS: dict[str, TrainingTask] = {
    "detection": TrainingTask(DetectionConfig, DetectionRun, _train_detector, ("auc",)),
    "repair": TrainingTask(RepairConfig, RepairRun, _train_repairer, ("asr_after", "clean_accuracy_lost")),
    "inr_classification": TrainingTask(ClassificationConfig, ClassificationRun, _train_classifier, ("accuracy",)),
    "inr_editing": TrainingTask(EditingConfig, EditingRun, _train_inr_editor, ("mse", "mse_of_nothing")),
    "generalization": TrainingTask(
        GeneralizationConfig, GeneralizationRun, _train_predictor, ("tau", "mean_absolute_error")
    ),
    "strangers": TrainingTask(StrangerConfig, StrangerRun, _train_stranger_detector, (), takes_growing=True),
}
"""Every task by its name."""


def task_config(run: Any) -> Any:
    """The task's own part of a run's configuration."""
    cls = TASKS[run.task].config
    return cls(**{field.name: getattr(run, field.name) for field in dataclasses.fields(cls)})
