"""ClassificationConfig: of what metanetwork a classifier of INRs is made, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMNConfig
from zoovet.tasks.metanetworks import MetanetworkConfig
from zoovet.tasks.picture_moves import PictureMoveConfig
from zoovet.tasks.training_config import TrainingConfig

__all__ = ["ClassificationConfig"]


def _ten_classes() -> ScaleGMNConfig:
    return ScaleGMNConfig(num_outputs=10)


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """How a classifier is trained.

    Attributes:
        metanetwork: What reads the weights; as many outputs a network as there are classes.
        training: How it is trained.
        label_smoothing: Share of a label that is spread over all classes.
        augmentation: What is done to the networks it trains on.
        layer_units: Whether the metanetwork reads each layer's weights and biases in units of their root mean square
            over the training networks.

    Raises:
        ZoovetError: A value out of its range, or a metanetwork that gives less than two numbers a network.
    """

    metanetwork: MetanetworkConfig = field(default_factory=_ten_classes)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    label_smoothing: float = 0.0
    augmentation: PictureMoveConfig = field(default_factory=PictureMoveConfig)
    layer_units: bool = False

    def __post_init__(self) -> None:
        if self.metanetwork.output != "graph" or self.metanetwork.num_outputs < 2:
            raise ZoovetError(
                f"classification needs a metanetwork with output 'graph' and num_outputs of at least 2, the number of "
                f"classes, got {self.metanetwork.output!r} and {self.metanetwork.num_outputs}"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ZoovetError(f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing}")
