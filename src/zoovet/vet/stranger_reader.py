"""What a detector for strangers is to whoever asks it: from evidence of a network's classes to a probability."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from zoovet.evidence import ClassEvidence, ClassEvidenceConfig

__all__ = ["EFFORTS", "StrangerReader", "StrangerReading"]

EFFORTS = ("quick", "normal", "thorough")
"""How much may be sought in a network, from least to most."""


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


class StrangerReader(Protocol):
    """A detector for networks of any graph, dataset and recipe."""

    @property
    def version(self) -> str:
        """Its name and the first digits of its file's SHA-256."""

    def evidence_config(self, effort: str, /) -> ClassEvidenceConfig:
        """What it wants sought, for an effort of :data:`EFFORTS`."""

    def read(self, evidence: ClassEvidence, /) -> StrangerReading:
        """What the evidence says."""

    def threshold(self, false_alarms: float, /, *, with_images: bool) -> float:
        """The probability that at most this share of healthy networks reach.

        Args:
            false_alarms: Above 0 and below 1.
            with_images: Whether evidence rests on reference images, not on made-up ones.
        """
