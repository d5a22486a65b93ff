"""Training a detector for strangers on the evidence of a park, and what it promises for images that no network knew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.evidence.class_features import FEATURES, KINDS
from zoovet.tasks.checkpoints import library_versions
from zoovet.tasks.strangers.calibration import fitted_calibration
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.detector import StrangerDetector
from zoovet.tasks.strangers.examined import Examined
from zoovet.tasks.strangers.likeness import fitted_likeness
from zoovet.tasks.strangers.readers import trained_readers

__all__ = ["LeftOut", "left_out", "stranger_detector"]

_UNLIKE_SHARE = 0.02
"""Share of the strangers that are called unlike at most."""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What readers say of networks of a kind that none of their training networks was of.

    Attributes:
        rows: The networks.
        logits: [n].
        named: int64 [n], the class that is suspected most.
        distances: [n], how unlike the training networks they are.
    """

    rows: list[Examined]
    logits: Tensor
    named: Tensor
    distances: Tensor

    @property
    def is_trojaned(self) -> Tensor:
        """Bool [n]."""
        return torch.tensor([row.labelled.is_trojaned for row in self.rows])


def left_out(
    known: Sequence[Examined],
    asked: Sequence[Examined],
    config: StrangerConfig,
    by: str,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> LeftOut:
    """Leave one kind out at a time, train on the others, and ask about those left out.

    Args:
        known: Networks to train on.
        asked: Networks to ask about; a base's networks are never trained on while it is asked about.
        config: How readers are trained.
        by: What kinds are: ``dataset``, ``family``, ``attack``.
        told: Given each kind's name before its readers are trained.

    Raises:
        ZoovetError: All networks are of one kind.
    """
    kinds = sorted({str(getattr(row, by)) for row in asked})
    rows, logits, named, distances = list[Examined](), list[float](), list[int](), list[float]()
    for kind in kinds:
        told(kind)
        own = [row for row in asked if getattr(row, by) == kind]
        bases = {row.base_id for row in own}
        others = [row for row in known if getattr(row, by) != kind and row.base_id not in bases]
        if not others:
            raise ZoovetError(f"all networks are of the {by} {kind!r}; nothing is left to train on without it")
        readers = trained_readers([row.labelled for row in others], config.training, config.reader)
        likeness = fitted_likeness([row.labelled.features for row in others])
        for row in own:
            scores, logit = readers.read(row.labelled.features)
            rows.append(row)
            logits.append(logit)
            named.append(int(scores.argmax()))
            distances.append(likeness.distance(row.labelled.features))
    return LeftOut(rows, torch.tensor(logits), torch.tensor(named), torch.tensor(distances))


def stranger_detector(
    rows: Sequence[Examined],
    config: StrangerConfig,
    zoo: dict[str, Any],
    *,
    told: Callable[[str], None] = lambda _: None,
) -> tuple[StrangerDetector, LeftOut]:
    """A detector trained on networks, calibrated on what readers that lack an image set say of its networks.

    Args:
        rows: Training and validation networks.
        config: How.
        zoo: What its checkpoint says of the park: JSON values.
        told: Given what is done next.

    Returns:
        The detector, and what it was calibrated on.

    Raises:
        ZoovetError: All networks are of one image set, or none is healthy, or none trojaned.
    """
    strangers = left_out(rows, rows, config, "dataset", told=lambda name: told(f"calibration without {name}"))
    healthy = strangers.logits[~strangers.is_trojaned].sort().values
    calibration = fitted_calibration(strangers.logits, strangers.is_trojaned)
    cutoff = float(torch.quantile(strangers.distances, 1 - _UNLIKE_SHARE))
    told("readers")
    readers = trained_readers([row.labelled for row in rows], config.training, config.reader)
    counts = {
        name: dict(zip(*np.unique([getattr(row, name) for row in rows], return_counts=True), strict=True))
        for name in ("dataset", "family", "attack")
    }
    description: dict[str, Any] = {
        "config": config_to_dict(config),
        "kinds": list(KINDS),
        "features": list(FEATURES),
        "calibration": [calibration.scale, calibration.shift],
        "networks": {name: {str(kind): int(count) for kind, count in found.items()} for name, found in counts.items()},
        "num_networks": len(rows),
        "zoo": zoo,
        "versions": library_versions(),
    }
    detector = StrangerDetector(
        readers=readers,
        config=config,
        calibration=calibration,
        healthy=healthy,
        likeness=fitted_likeness([row.labelled.features for row in rows], cutoff),
        version="strangers",
        description=description,
    )
    return detector, strangers
