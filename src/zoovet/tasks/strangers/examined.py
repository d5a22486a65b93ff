"""Networks of a park that were examined: what a reader of their evidence reads, and what it should answer."""

from __future__ import annotations

from dataclasses import dataclass

from zoovet.evidence.class_features import ClassFeatures

__all__ = ["Examined", "LabelledFeatures"]


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """What a reader learns from.

    Attributes:
        features: Of a network's classes.
        is_trojaned: Whether it is.
        target: Its trojan's; −1 where it has none, or one for every class.
    """

    features: ClassFeatures
    is_trojaned: bool
    target: int


@dataclass(frozen=True, eq=False)
class Examined:
    """A network of a park, and what was found out about it.

    Attributes:
        network_id, base_id: Which.
        dataset, family, attack, split: Of what kind.
        recipe: How it was trained, roughly: optimizer, and whether its images were augmented.
        labelled: What a reader reads, and should answer.
        asr: Attack success rate; NaN of a healthy network.
        seconds: Of a processor, that the evidence took.
    """

    network_id: str
    base_id: int
    dataset: str
    family: str
    attack: str
    split: str
    recipe: str
    labelled: LabelledFeatures
    asr: float
    seconds: float

    @property
    def num_classes(self) -> int:
        """That were examined."""
        return len(self.labelled.features.values)
