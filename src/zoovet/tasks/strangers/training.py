"""Training a detector for strangers on the evidence of a park, and what it promises for images that no network knew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidenceConfig
from zoovet.evidence.class_features import FEATURES, KINDS
from zoovet.tasks.checkpoints import library_versions
from zoovet.tasks.strangers.calibration import Worth, fitted_calibration
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.detector import EffortReaders, StrangerDetector
from zoovet.tasks.strangers.efforts import DEFAULT_EFFORT, EFFORTS, as_sought, evidence_for
from zoovet.tasks.strangers.examined import Examined, LabelledFeatures
from zoovet.tasks.strangers.exchanges import fitted_exchange, read_with_exchange
from zoovet.tasks.strangers.few_classes import MANY_CLASSES
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

    def by_count(self) -> dict[int, LeftOut]:
        """Number of classes that were examined → those networks."""
        counts = [row.num_classes for row in self.rows]
        return {count: self.where([own == count for own in counts]) for count in sorted(set(counts))}

    def where(self, chosen: Sequence[bool]) -> LeftOut:
        """Some of them."""
        places = torch.tensor(chosen, dtype=torch.bool)
        rows = [row for row, is_one in zip(self.rows, chosen, strict=True) if is_one]
        return LeftOut(rows, self.logits[places], self.named[places], self.distances[places])


def left_out(
    known: Sequence[Examined],
    asked: Sequence[Examined],
    config: StrangerConfig,
    by: str,
    *,
    effort: str = DEFAULT_EFFORT,
    told: Callable[[str], None] = lambda _: None,
) -> LeftOut:
    """Leave one kind out at a time, train on the others, and ask about those left out.

    Args:
        known: Networks to train on.
        asked: Networks to ask about; a base's networks are never trained on while it is asked about.
        config: How readers are trained.
        by: What kinds are: ``dataset``, ``family``, ``attack``.
        effort: What of the evidence is read.
        told: Given each kind's name before its readers are trained.

    Raises:
        ZoovetError: All networks are of one kind.
    """
    sought = evidence_for(config.evidence, effort)
    kinds = sorted({str(getattr(row, by)) for row in asked})
    rows, logits, named, distances = list[Examined](), list[float](), list[int](), list[float]()
    for kind in kinds:
        told(kind)
        own = [row for row in asked if getattr(row, by) == kind]
        bases = {row.base_id for row in own}
        others = [row for row in known if getattr(row, by) != kind and row.base_id not in bases]
        if not others:
            raise ZoovetError(f"all networks are of the {by} {kind!r}; nothing is left to train on without it")
        shown = [_as_sought(row.labelled, sought) for row in others]
        readers = trained_readers(shown, config.training, config.reader)
        line = fitted_exchange([one.features for one in shown if not one.is_trojaned])
        likeness = fitted_likeness([one.features for one in shown])
        for row in own:
            features = as_sought(row.labelled.features, sought)
            scores, logit, _ = read_with_exchange(readers, line, features)
            rows.append(row)
            logits.append(logit)
            named.append(int(scores.argmax()))
            distances.append(likeness.distance(features))
    return LeftOut(rows, torch.tensor(logits), torch.tensor(named), torch.tensor(distances))


def stranger_detector(
    rows: Sequence[Examined],
    config: StrangerConfig,
    zoo: dict[str, Any],
    *,
    of_few: Sequence[Examined] = (),
    told: Callable[[str], None] = lambda _: None,
) -> tuple[StrangerDetector, dict[str, LeftOut], dict[str, LeftOut]]:
    """A detector trained on networks, calibrated on what readers that lack an image set say of its networks.

    Args:
        rows: Training and validation networks.
        config: How.
        zoo: What its checkpoint says of the park: JSON values.
        of_few: The same networks cut to fewer classes than :data:`MANY_CLASSES`; what answers are worth is found out on
            them for networks of few classes. Without any it is as of whole ones.
        told: Given what is done next.

    Returns:
        The detector, for each effort what it was calibrated on, and the same of networks of few classes.

    Raises:
        ZoovetError: All networks are of one image set, or none is healthy, or none trojaned.
    """
    by_effort, strangers, few_strangers = dict[str, EffortReaders](), dict[str, LeftOut](), dict[str, LeftOut]()
    for effort in EFFORTS:
        by_effort[effort], strangers[effort], few_strangers[effort] = _of_effort(rows, of_few, config, effort, told)
    counts = {
        name: dict(zip(*np.unique([getattr(row, name) for row in rows], return_counts=True), strict=True))
        for name in ("dataset", "family", "attack")
    }
    description: dict[str, Any] = {
        "config": config_to_dict(config),
        "kinds": list(KINDS),
        "features": list(FEATURES),
        "efforts": list(EFFORTS),
        "networks": {name: {str(kind): int(count) for kind, count in found.items()} for name, found in counts.items()},
        "num_networks": len(rows),
        "zoo": zoo,
        "versions": library_versions(),
    }
    detector = StrangerDetector(by_effort=by_effort, config=config, version="strangers", description=description)
    return detector, strangers, few_strangers


def _of_effort(
    rows: Sequence[Examined],
    of_few: Sequence[Examined],
    config: StrangerConfig,
    effort: str,
    told: Callable[[str], None],
) -> tuple[EffortReaders, LeftOut, LeftOut]:
    """Readers of one effort's evidence, and what they were calibrated on: whole networks, and those of few classes."""
    every = left_out(
        rows,
        [*rows, *of_few],
        config,
        "dataset",
        effort=effort,
        told=lambda name: told(f"{effort}: calibration without {name}"),
    )
    told(f"{effort}: readers")
    sought = evidence_for(config.evidence, effort)
    shown = [_as_sought(row.labelled, sought) for row in rows]
    few_ids = {id(row) for row in of_few}
    strangers, few = (every.where([(id(row) in few_ids) == is_few for row in every.rows]) for is_few in (False, True))
    own = EffortReaders(
        readers=trained_readers(shown, config.training, config.reader),
        exchange=fitted_exchange([one.features for one in shown if not one.is_trojaned]),
        worth={count: _worth(part) for count, part in few.by_count().items()} | {MANY_CLASSES: _worth(strangers)},
        likeness=fitted_likeness([one.features for one in shown]),
    )
    return own, strangers, few


def _worth(strangers: LeftOut) -> Worth:
    return Worth(
        calibration=fitted_calibration(strangers.logits, strangers.is_trojaned),
        healthy=strangers.logits[~strangers.is_trojaned].sort().values,
        cutoff=float(torch.quantile(strangers.distances, 1 - _UNLIKE_SHARE)),
    )


def _as_sought(labelled: LabelledFeatures, config: ClassEvidenceConfig) -> LabelledFeatures:
    features = as_sought(labelled.features, config)
    return labelled if features is labelled.features else replace(labelled, features=features)
