"""GeneralizationConfig: of what metanetwork an accuracy predictor is made, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zoovet.errors import ZoovetError, nearest
from zoovet.metanets import ScaleGMNConfig
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.metanetworks import MetanetworkConfig
from zoovet.tasks.training_config import TrainingConfig

__all__ = ["GeneralizationConfig"]

_LOSSES = ("cross_entropy", "squared_error")


@dataclass(frozen=True, kw_only=True)
class GeneralizationConfig:
    """How an accuracy predictor is trained.

    Attributes:
        metanetwork: What reads the weights; one output a network, the logit of its accuracy.
        training: How it is trained.
        loss: ``cross_entropy`` between the predicted accuracy and the true one as shares of test images told rightly,
            or ``squared_error`` of the two accuracies, as the published models were trained with.
        augmentation: What is done to the networks it trains on.

    Raises:
        ZoovetError: A value out of its range, or a metanetwork that does not give one number a network.
    """

    metanetwork: MetanetworkConfig = field(default_factory=ScaleGMNConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        if self.metanetwork.output != "graph" or self.metanetwork.num_outputs != 1:
            raise ZoovetError(
                f"predicting accuracies needs a metanetwork with output 'graph' and num_outputs 1, got "
                f"{self.metanetwork.output!r} and {self.metanetwork.num_outputs}"
            )
        if self.loss not in _LOSSES:
            raise ZoovetError(f"loss {self.loss!r} is unknown{nearest(self.loss, _LOSSES)}")
        if self.augmentation.sibling_mixing > 0:
            raise ZoovetError(
                "augmentation.sibling_mixing is for healthy and trojaned siblings; checkpoints of one training have "
                "accuracies of their own, so set it to 0"
            )
