"""What a detector for strangers is to whoever asks it: from evidence of a network's classes to a probability."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from torch import Tensor

from zoovet import shipped
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig
from zoovet.tasks.strangers.detector import StrangerDetector
from zoovet.tasks.strangers.efforts import DEFAULT_EFFORT, EFFORTS

__all__ = ["DEFAULT_EFFORT", "EFFORTS", "StrangerReader", "StrangerReading", "shipped_stranger_reader"]


class StrangerReading(Protocol):
    """What a detector reads in the evidence of one network."""

    @property
    def probability(self) -> float:
        """Of a trojan."""

    @property
    def class_probabilities(self) -> Tensor:
        """Float [classes], of being what a trigger causes."""

    @property
    def unlike(self) -> str:
        """Why the evidence is unlike all that the detector knows, one line; empty where it is like that."""

    @property
    def exchanges(self) -> bool:
        """Whether the probability follows from a trigger that makes each class another, not from one class."""


class StrangerReader(Protocol):
    """A detector for networks of any graph, dataset and recipe."""

    @property
    def version(self) -> str:
        """Its name and the first digits of its file's SHA-256."""

    @property
    def reads_images(self) -> bool:
        """Whether it reads evidence that rests on reference images, not on images that networks make themselves."""

    @property
    def without_images(self) -> StrangerReader | None:
        """The reader of evidence that rests on images which networks make themselves; ``None`` where there is none."""

    def evidence_config(self, effort: str, /) -> ClassEvidenceConfig:
        """What it wants sought, for an effort of :data:`EFFORTS`."""

    def read(self, evidence: ClassEvidence, effort: str, /) -> StrangerReading:
        """What the evidence says, which was sought with an effort."""

    def threshold(self, false_alarms: float, effort: str, num_classes: int, /) -> float:
        """The probability that at most this share of healthy networks reach, of so many examined classes."""


def shipped_stranger_reader(models: Path | None = None) -> StrangerReader | None:
    """The detector for strangers that comes with the package; ``None`` where there is none.

    Args:
        models: Folder of models; the package's own where left out.

    Raises:
        ZoovetError: Its file is damaged.
    """
    path, blind = (shipped.stranger_detector(models, with_images=which) for which in (True, False))
    if path is None:
        return None
    return replace(StrangerDetector.open(path), without_images=None if blind is None else StrangerDetector.open(blind))
