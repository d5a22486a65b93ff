"""DetectionConfig: of what metanetworks a detector is made, and how they are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMNConfig
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.inversion_images import inverts
from zoovet.tasks.metanetworks import MetanetworkConfig
from zoovet.tasks.training_config import TrainingConfig

__all__ = ["DetectionConfig"]


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """How a detector is trained.

    Attributes:
        metanetwork: What reads the weights; one output a network.
        num_members: How many such metanetworks are trained on the same batches, from different initial weights; the
            detector's logit is their mean.
        training: How they are trained.
        paired: Whether a healthy and a trojaned network of one base come in the same batch.
        label_smoothing: Share by which the labels 0 and 1 move towards one half.
        augmentation: What is done to the networks it trains on.

    Raises:
        ZoovetError: A value out of its range, or a metanetwork that does not give one number a network.
    """

    metanetwork: MetanetworkConfig = field(default_factory=ScaleGMNConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    num_members: int = 1
    paired: bool = True
    label_smoothing: float = 0.0
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        if self.metanetwork.output != "graph" or self.metanetwork.num_outputs != 1:
            raise ZoovetError(
                f"detection needs a metanetwork with output 'graph' and num_outputs 1, got "
                f"{self.metanetwork.output!r} and {self.metanetwork.num_outputs}"
            )
        if self.num_members < 1:
            raise ZoovetError(f"num_members must be at least 1, got {self.num_members}")
        own = self.augmentation
        if inverts(self.metanetwork) and (own.sibling_mixing or own.kernel_symmetries or own.class_permutations):
            raise ZoovetError(
                "metanetwork.inversion is computed once for every network, so that training networks can only be "
                "augmented by search_dropout and weight_noise (small enough to change nothing of it); leave the rest "
                "of augmentation out, or set metanetwork.inversion to null"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ZoovetError(f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing}")
