"""The trained detector for strangers: evidence of classes in, a probability and the classes suspected out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoovet.config import read_config
from zoovet.errors import ZoovetError, nearest
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig
from zoovet.evidence.class_features import FEATURES, KINDS, class_features
from zoovet.tasks.calibration import Calibration
from zoovet.tasks.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from zoovet.tasks.strangers.calibration import threshold_logit
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.likeness import Likeness
from zoovet.tasks.strangers.readers import Readers

__all__ = ["CALIBRATED_EFFORT", "EFFORTS", "KIND", "StrangerDetector", "StrangerReading"]

KIND = "stranger_detector"
"""Of its checkpoints."""

_SOUGHT_OTHERWISE: dict[str, dict[str, Any]] = {
    "quick": {
        "patch_sizes": (0.2,),
        "num_places": 4,
        "change_factors": (0.5,),
        "pixel_factors": (1.0,),
        "smooth_factors": (),
        "warp_factors": (0.5,),
        "wave_amplitudes": (0.2,),
        "num_margin_steps": 10,
        "num_stripes": 16,
    },
    "normal": {},
    "thorough": {"num_places": 8, "images_per_class": 4, "num_steps": 6, "num_starts": 6, "num_stripes": 64},
}
"""For each effort, what of the evidence that the detector was trained on is sought otherwise."""

EFFORTS = tuple(_SOUGHT_OTHERWISE)
"""How much may be sought in a network, from least to most."""

CALIBRATED_EFFORT = "normal"
"""The one with which a park's networks were examined, and rates of false alarms measured."""


@dataclass(frozen=True, eq=False)
class StrangerReading:
    """What a detector makes of a network's evidence.

    Attributes:
        probability: Of a trojan, where one network of two has one.
        logit: What it follows from; what thresholds are compared with.
        class_probabilities: [classes], of being the target, if there is one; 0 of classes that were not examined.
        unlike: Why the evidence is unlike all that the detector knows; empty where it is like that.
    """

    probability: float
    logit: float
    class_probabilities: Tensor
    unlike: str


@dataclass(frozen=True, eq=False)
class StrangerDetector:
    """Readers of class evidence, with what their answers are worth.

    Attributes:
        readers: The readers.
        config: How they were trained.
        calibration: From logits to probabilities.
        healthy: [n], logits of healthy strangers, ascending.
        likeness: How like the park's a network's evidence is.
        version: Its name and the first digits of its tensors' SHA-256.
        description: What its checkpoint says of its training.
        without_images: One that reads evidence from images which networks make themselves, where there is one.
    """

    readers: Readers
    config: StrangerConfig
    calibration: Calibration
    healthy: Tensor
    likeness: Likeness
    version: str
    description: dict[str, Any]
    without_images: StrangerDetector | None = None

    def evidence_config(self, effort: str) -> ClassEvidenceConfig:
        """What is to be sought for an effort: ``quick``, ``normal`` or ``thorough``.

        Raises:
            ZoovetError: There is no such effort.
        """
        if effort not in EFFORTS:
            raise ZoovetError(f"the effort {effort!r} is unknown{nearest(effort, EFFORTS)}")
        return replace(self.config.evidence, **_SOUGHT_OTHERWISE[effort])

    def read(self, found: ClassEvidence) -> StrangerReading:
        """A probability and the classes suspected, from a network's evidence."""
        features = class_features(found)
        scores, logit = self.readers.read(features)
        every = torch.zeros(found.num_classes)
        every[found.examined] = scores.softmax(0)
        return StrangerReading(
            probability=float(self.calibration(torch.tensor(logit))),
            logit=logit,
            class_probabilities=every,
            unlike=self.likeness.why_unlike(features),
        )

    @property
    def reads_images(self) -> bool:
        """Whether it was trained on evidence from reference images, not from images that networks make."""
        return self.config.images_per_class > 0

    def threshold(self, false_alarms: float) -> float:
        """The probability from which on a network is called trojaned, for a rate of false alarms.

        Args:
            false_alarms: The rate.

        Raises:
            ZoovetError: The rate is none.
        """
        return float(self.calibration(torch.tensor(threshold_logit(self.healthy, false_alarms), dtype=torch.float64)))

    def save(self, path: Path) -> None:
        """Write it as one file."""
        extra = {"healthy": self.healthy, **self.likeness.tensors()}
        save_checkpoint(path, KIND, self.readers, dict(self.description), extra)

    @classmethod
    def open(cls, path: Path | str) -> StrangerDetector:
        """Read one that was saved.

        Args:
            path: Its file, or the folder of its training.

        Raises:
            ZoovetError: It is missing, damaged, or something else.
        """
        checkpoint = load_checkpoint(path, KIND)
        _require_same_features(checkpoint)
        config = read_config(StrangerConfig, checkpoint.get("config"), where=str(checkpoint.path))
        readers = Readers(config.training.num_members, config.reader)
        checkpoint.load_into(readers)
        scale, shift = checkpoint.numbers("calibration", 2)
        return cls(
            readers=readers.eval(),
            config=config,
            calibration=Calibration(scale, shift),
            healthy=_extra(checkpoint, "healthy").float(),
            likeness=Likeness.of_tensors({name: _extra(checkpoint, name).float() for name in Likeness.NAMES}),
            version=f"strangers-{_digest(checkpoint)}",
            description=checkpoint.description,
        )


def _extra(checkpoint: Checkpoint, name: str) -> Tensor:
    if name not in checkpoint.extra:
        raise ZoovetError(f"{checkpoint.path} is not as zoovet writes it: it lacks {name!r}")
    return checkpoint.extra[name]


def _require_same_features(checkpoint: Checkpoint) -> None:
    for name, own in (("kinds", KINDS), ("features", FEATURES)):
        if checkpoint.get(name) != list(own):
            raise ZoovetError(
                f"{checkpoint.path} reads other {name} of evidence than this zoovet seeks; train it again, or use the "
                f"zoovet that trained it"
            )


def _digest(checkpoint: Checkpoint) -> str:
    digest = hashlib.sha256()
    for name in sorted(checkpoint.tensors):
        digest.update(name.encode())
        digest.update(checkpoint.tensors[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
