"""EditingConfig: of what metanetwork an editor of INRs is made, how it is trained, and which edit it learns."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMNConfig
from zoovet.tasks.edited_images import EditName
from zoovet.tasks.metanetworks import MetanetworkConfig
from zoovet.tasks.training_config import TrainingConfig

__all__ = ["EditingConfig"]


def _editing() -> ScaleGMNConfig:
    return ScaleGMNConfig(output="weights")


@dataclass(frozen=True, kw_only=True)
class EditingConfig:
    """How an editor of INRs is trained.

    Attributes:
        metanetwork: What changes the weights; output ``weights``. Its ``out_scale`` says how large first changes are.
        training: How it is trained.
        edit: What is done to pictures: ``dilation`` (a 3 × 3 square, once), ``contrast`` (CLAHE).
        layer_units: Whether the metanetwork reads each layer's weights and biases in units of their root mean square
            over the training networks.

    Raises:
        ZoovetError: A value out of its range, or a metanetwork of the wrong output.
    """

    metanetwork: MetanetworkConfig = field(default_factory=_editing)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    edit: EditName = "dilation"
    layer_units: bool = False

    def __post_init__(self) -> None:
        if self.metanetwork.output != "weights":
            raise ZoovetError(f"editing needs a metanetwork with output 'weights', got {self.metanetwork.output!r}")
        if self.edit not in ("dilation", "contrast"):
            raise ZoovetError(f"edit must be 'dilation' or 'contrast', got {self.edit!r}")
