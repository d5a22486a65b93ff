"""The trained detector for strangers: evidence of classes in, a probability and the classes suspected out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig
from zoovet.evidence.class_features import FEATURES, KINDS, class_features
from zoovet.tasks.calibration import Calibration
from zoovet.tasks.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from zoovet.tasks.strangers.calibration import Worth, threshold_logit
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.efforts import EFFORTS, as_sought, evidence_for
from zoovet.tasks.strangers.exchanges import ExchangeLine, read_with_exchange
from zoovet.tasks.strangers.few_classes import MANY_CLASSES
from zoovet.tasks.strangers.likeness import Likeness
from zoovet.tasks.strangers.readers import Readers

__all__ = ["KIND", "EffortReaders", "StrangerDetector", "StrangerReading"]

KIND = "stranger_detector"
"""Of its checkpoints."""


@dataclass(frozen=True, eq=False)
class StrangerReading:
    """What a detector makes of a network's evidence.

    Attributes:
        probability: Of a trojan, where one network of two has one.
        logit: What it follows from; what thresholds are compared with.
        class_probabilities: [classes], of being the target, if there is one; 0 of classes that were not examined.
        unlike: Why the evidence is unlike all that the detector knows; empty where it is like that.
        exchanges: Whether the logit follows from a trigger that makes each class another, not from a class.
    """

    probability: float
    logit: float
    class_probabilities: Tensor
    unlike: str = ""
    exchanges: bool = False


@dataclass(frozen=True, eq=False)
class EffortReaders:
    """Readers of the evidence of one effort, with what their answers are worth.

    Attributes:
        readers: The readers.
        exchange: What it is worth that classes are exchanged.
        worth: Number of classes → what answers are worth of networks with as many, or with more up to the next;
            :data:`~zoovet.tasks.strangers.few_classes.MANY_CLASSES`: of a park's whole networks.
        likeness: How like the park's a network's evidence is.
    """

    readers: Readers
    exchange: ExchangeLine
    worth: Mapping[int, Worth]
    likeness: Likeness

    def worth_of(self, num_classes: int) -> Worth:
        """What answers are worth of networks of so many classes."""
        return self.worth[max((count for count in self.worth if count <= num_classes), default=min(self.worth))]


@dataclass(frozen=True, eq=False)
class StrangerDetector:
    """Readers of class evidence, for each effort.

    Attributes:
        by_effort: Effort → readers.
        config: How they were trained.
        version: Its name and the first digits of its tensors' SHA-256.
        description: What its checkpoint says of its training.
        without_images: One that reads evidence from images which networks make themselves, where there is one.
    """

    by_effort: Mapping[str, EffortReaders]
    config: StrangerConfig
    version: str
    description: dict[str, Any]
    without_images: StrangerDetector | None = None

    def evidence_config(self, effort: str) -> ClassEvidenceConfig:
        """What is to be sought for an effort: ``quick``, ``normal`` or ``thorough``.

        Raises:
            ZoovetError: There is no such effort.
        """
        return evidence_for(self.config.evidence, effort)

    def read(self, found: ClassEvidence, effort: str) -> StrangerReading:
        """A probability and the classes suspected, from a network's evidence.

        Args:
            found: The evidence.
            effort: With which it was sought.
        """
        own, features = self.by_effort[effort], as_sought(class_features(found), self.evidence_config(effort))
        scores, logit, exchanges = read_with_exchange(own.readers, own.exchange, features)
        worth = own.worth_of(len(found.examined))
        every = torch.zeros(found.num_classes)
        every[found.examined] = scores.softmax(0)
        return StrangerReading(
            probability=float(worth.calibration(torch.tensor(logit))),
            logit=logit,
            class_probabilities=every,
            unlike=own.likeness.why_unlike(features, worth.cutoff),
            exchanges=exchanges,
        )

    @property
    def reads_images(self) -> bool:
        """Whether it was trained on evidence from reference images, not from images that networks make."""
        return self.config.images_per_class > 0

    def threshold(self, false_alarms: float, effort: str, num_classes: int) -> float:
        """The probability from which on a network is called trojaned, for a rate of false alarms.

        Args:
            false_alarms: The rate.
            effort: With which evidence is sought.
            num_classes: That were examined.

        Raises:
            ZoovetError: The rate is none.
        """
        own = self.by_effort[effort].worth_of(num_classes)
        logit = torch.tensor(threshold_logit(own.healthy, false_alarms), dtype=torch.float64)
        return float(own.calibration(logit))

    def save(self, path: Path) -> None:
        """Write it as one file."""
        extra, numbers = dict[str, Tensor](), dict[str, Any]()
        for effort, own in self.by_effort.items():
            extra |= {f"{effort}.{name}": tensor for name, tensor in own.likeness.tensors().items()}
            numbers[f"exchange_{effort}"] = [own.exchange.slope, own.exchange.offset]
            for count, worth in own.worth.items():
                place = _place_of_worth(effort, count)
                numbers[f"calibration_{place}"] = [worth.calibration.scale, worth.calibration.shift]
                extra |= {f"{place}.healthy": worth.healthy, f"{place}.cutoff": torch.tensor([worth.cutoff])}
        module = nn.ModuleDict({effort: own.readers for effort, own in self.by_effort.items()})
        save_checkpoint(path, KIND, module, self.description | numbers, extra)

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
        readers = {effort: Readers(config.training.num_members, config.reader) for effort in EFFORTS}
        checkpoint.load_into(nn.ModuleDict(readers))
        return cls(
            by_effort={effort: _effort_readers(checkpoint, effort, own) for effort, own in readers.items()},
            config=config,
            version=f"strangers-{_digest(checkpoint)}",
            description=checkpoint.description,
        )


def _place_of_worth(effort: str, count: int) -> str:
    """Where a checkpoint says what readers' answers are worth."""
    return effort if count == MANY_CLASSES else f"{effort}_{count}"


def _effort_readers(checkpoint: Checkpoint, effort: str, readers: Readers) -> EffortReaders:
    def extra(name: str) -> Tensor:
        if name not in checkpoint.extra:
            raise ZoovetError(f"{checkpoint.path} is not as zoovet writes it: it lacks '{name}'")
        return checkpoint.extra[name].float()

    worth = dict[int, Worth]()
    for count in range(2, MANY_CLASSES + 1):
        place = _place_of_worth(effort, count)
        if count == MANY_CLASSES or f"calibration_{place}" in checkpoint.description:
            calibration = Calibration(*checkpoint.numbers(f"calibration_{place}", 2))
            worth[count] = Worth(calibration, extra(f"{place}.healthy"), float(extra(f"{place}.cutoff")))
    return EffortReaders(
        readers=readers.eval(),
        exchange=ExchangeLine(*checkpoint.numbers(f"exchange_{effort}", 2)),
        worth=worth,
        likeness=Likeness.of_tensors({name: extra(f"{effort}.{name}") for name in Likeness.NAMES}),
    )


def _require_same_features(checkpoint: Checkpoint) -> None:
    for name, own in (("kinds", KINDS), ("features", FEATURES), ("efforts", EFFORTS)):
        if checkpoint.description.get(name) != list(own):
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
