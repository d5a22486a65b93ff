"""How a detector for strangers is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidenceConfig
from zoovet.metanets.class_reader import ClassReaderConfig
from zoovet.tasks.strangers.few_classes import MANY_CLASSES

__all__ = ["ReaderTraining", "StrangerConfig"]


@dataclass(frozen=True, kw_only=True)
class ReaderTraining:
    """How a reader of class evidence is trained: AdamW, the rate rising and falling once.

    Attributes:
        num_members: Readers from different weights, whose mean logit counts.
        num_steps: Optimizer steps of each.
        learning_rate: Highest.
        weight_decay: AdamW's.
        batch_share: Share of the networks that a step reads.
        target_weight: Of the cross-entropy that asks which class is the target, beside the one that asks whether there
            is a trojan.
        smoothing: How far the answers that are asked for stay away from 0 and 1.
        noise: Standard deviation of what is added to every number.
        dropped_kinds: Share of the kinds of evidence that a step leaves out.
        dropped_classes: Share of the steps that leave out half of the classes, never a target.
        seed: Of everything.

    Raises:
        ZoovetError: A value out of its range.
    """

    num_members: int = 4
    num_steps: int = 150
    learning_rate: float = 6e-3
    weight_decay: float = 1e-2
    batch_share: float = 0.6
    target_weight: float = 0.5
    smoothing: float = 0.02
    noise: float = 0.25
    dropped_kinds: float = 0.25
    dropped_classes: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_members", "num_steps"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"training.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "batch_share"):
            if not getattr(self, name) > 0:
                raise ZoovetError(f"training.{name} must be above 0, got {getattr(self, name)}")
        for name in ("weight_decay", "target_weight", "noise", "seed"):
            if not getattr(self, name) >= 0:
                raise ZoovetError(f"training.{name} must be at least 0, got {getattr(self, name)}")
        for name, most in (("batch_share", 1.0), ("smoothing", 0.4), ("dropped_kinds", 0.9), ("dropped_classes", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise ZoovetError(f"training.{name} must lie in 0 to {most:g}, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class StrangerConfig:
    """A detector for strangers.

    Attributes:
        images_per_class: Reference images of each class that a network's evidence is sought on; drawn of the test
            images of its own image set. 0: none; evidence is sought on images that each network makes itself.
        uses_labels: Whether the images' labels are used, or what the network takes them for.
        evidence: What is sought.
        few_classes: To how many of their classes networks are cut besides, each another draw: thresholds and
            probabilities of networks of few classes are found out on these. None is cut to as many as it has, or more.
        reader: Size of the readers.
        training: How they are trained.

    Raises:
        ZoovetError: A number of images below 0, or of classes outside 2 to 7.
    """

    images_per_class: int = 6
    uses_labels: bool = True
    evidence: ClassEvidenceConfig = field(default_factory=ClassEvidenceConfig)
    few_classes: tuple[int, ...] = (2, 2, 3, 5)
    reader: ClassReaderConfig = field(default_factory=ClassReaderConfig)
    training: ReaderTraining = field(default_factory=ReaderTraining)

    def __post_init__(self) -> None:
        if self.images_per_class < 0:
            raise ZoovetError(f"images_per_class must be at least 0, got {self.images_per_class}")
        if not all(2 <= count < MANY_CLASSES for count in self.few_classes):
            raise ZoovetError(
                f"few_classes must be numbers of 2 to {MANY_CLASSES - 1} classes, got {list(self.few_classes)}"
            )
