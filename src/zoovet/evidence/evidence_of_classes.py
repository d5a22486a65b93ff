"""Evidence of the classes of any network that can be run: which of them do triggers cause more easily than the others?

Triggers of several kinds are sought for each class, at several places, within bounds that are set by the network
itself: such that of its classes the one in the middle wins about half of the images. Images are a few clean ones, or
made up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence.class_evidence_config import ClassEvidenceConfig
from zoovet.evidence.class_search import Course, Seekers, margins_of
from zoovet.evidence.concurrency import Pace
from zoovet.evidence.evidence import Evidence
from zoovet.evidence.examined_classes import examined_classes
from zoovet.evidence.exchange import Exchange
from zoovet.evidence.findings import Findings
from zoovet.evidence.own_units import FLOORS, own_units
from zoovet.evidence.runnable import Runnable
from zoovet.evidence.scaled_images import as_signed
from zoovet.evidence.synthesized_images import synthesized_images

__all__ = ["ClassEvidence", "class_evidence", "synthesized_for"]

_PLAIN = Pace()


@dataclass(frozen=True, eq=False)
class ClassEvidence:
    """What was found out about the classes of one network.

    Attributes:
        evidence: ``SEARCH.course`` [1, classes, steps + 1, 3] (:data:`~zoovet.evidence.class_search.COURSE`) and
            ``SEARCH.found`` [1, classes, 3], what the best trigger does on all images, ``SEARCH.spread``
            [1, classes, 3] how evenly (:data:`~zoovet.evidence.class_search.SPREAD`), ``SEARCH.weak`` [1, classes, 3]
            what it does at half of its strength on those that it was sought on, ``SEARCH.exchange`` [1, classes, 1] of
            triggers that are tried as they are (:func:`~zoovet.evidence.exchange.exchanged`), ``SEARCH.natural``
            [1, classes, 1] of stripes (:func:`~zoovet.evidence.natural_power.natural_power`); ``clean``, as
            ``SEARCH.found`` without a trigger;
            ``margins`` [1, classes, steps + 1]; ``warps`` and ``stripes`` [1, classes, 3]; ``confusion`` [1, classes,
            2]: the share of other classes' images, and of its own, that are taken for the class, as they are.
        courses: Search → one row a class: its best trigger, and the family that puts it on images.
        settings: Search → its size, area or bound.
        examined: int64 [classes], which of the network's outputs these classes are, ascending.
        num_classes: The network's.
        exchanges: Search → the trigger that makes most classes each another, of searches that try many.
    """

    evidence: Evidence
    courses: dict[str, Course]
    settings: dict[str, float]
    examined: Tensor
    num_classes: int
    exchanges: dict[str, Exchange] = field(default_factory=dict)

    def row_of(self, target: int) -> int | None:
        """Where a class is among those examined; ``None`` if it is not."""
        rows = torch.nonzero(self.examined == target).flatten().tolist()
        return rows[0] if rows else None

    def standings(self) -> dict[str, Tensor]:
        """How far each class stands out among those examined: name → [classes]."""
        standings = {}
        for name in self.courses:
            found = self.evidence.classes[f"{name}.found"]
            gained = found - self.evidence.classes["clean"]
            for place, what in enumerate(("margin", "flips", "probability")):
                standings[f"{name}.{what}"] = own_units(gained[:, :, place], FLOORS[what])[0]
        classes = self.evidence.classes
        standings["margins"] = own_units(classes["margins"][:, :, -1], FLOORS["margin"])[0]
        for name in ("warps", "stripes"):
            standings[name] = own_units(classes[name][:, :, 0], FLOORS["probability"])[0]
        return standings


def class_evidence(
    network: Runnable,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    config: ClassEvidenceConfig | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
    pace: Pace = _PLAIN,
) -> ClassEvidence:
    """Find out what there is to know of a network's classes.

    Args:
        network: A single one (B = 1) of at least two classes.
        images: Reference images, uint8 or in [-1, 1], [n, C, H, W]; those of :func:`synthesized_for` where there
            are none.
        labels: int64 [n], their classes; what the network takes them for where nobody knows.
        config: What is sought.
        progress: Told what is sought next.
        pace: How fast, at the price of memory; what is found hardly depends on it (the last digits).

    Raises:
        ZoovetError: More networks than one, images of another shape, labels that do not fit, or answers that are not
            finite.
    """
    config = config or ClassEvidenceConfig()
    with torch.inference_mode(False), torch.no_grad():
        every = _seekers(network, images, labels, config, pace.max_images)
        progress("suspects")
        examined = examined_classes(
            every,
            max_classes=config.max_classes,
            num_stripes=config.num_stripes,
            num_warps=config.num_warps,
            seed=config.seed,
        )
        found = Findings(every, examined, config, progress, pace.num_threads).all()
        return ClassEvidence(
            Evidence(classes=found.classes),
            found.courses,
            found.settings,
            examined.cpu(),
            network.num_classes,
            found.exchanges,
        )


def synthesized_for(network: Runnable, config: ClassEvidenceConfig) -> tuple[Tensor, Tensor]:
    """Images that take the place of reference images, and their classes: of at most ``max_classes``, drawn ones.

    Returns:
        Images [n, C, H, W] in [-1, 1], and int64 [n].
    """
    generator = torch.Generator().manual_seed(config.seed)
    drawn = torch.randperm(network.num_classes, generator=generator)[: config.max_classes].sort().values
    labels = drawn.repeat_interleave(config.num_synthesized).to(network.device)
    return synthesized_images(network, labels, num_steps=config.num_synthesis_steps, seed=config.seed), labels


def _seekers(
    network: Runnable, images: Tensor | None, labels: Tensor | None, config: ClassEvidenceConfig, max_images: int
) -> Seekers:
    shape = network.input_shape
    if len(network) != 1 or network.num_classes < 2:
        raise ZoovetError(
            f"evidence of classes is of one network of two classes or more, got {len(network)} of {network.num_classes}"
        )
    if images is None:
        images, labels = synthesized_for(network, config)
    if tuple(images.shape[1:]) != shape or not len(images):
        raise ZoovetError(f"reference images must be [n, {', '.join(map(str, shape))}], got {list(images.shape)}")
    shown = as_signed(images).to(network.device, network.dtype)
    logits = network.logits(shown)[0]
    if not bool(logits.isfinite().all()):
        raise ZoovetError("the network's answers to the reference images are not all finite, so nothing can be sought")
    taken = logits.argmax(1)
    if labels is None:
        labels = taken
    if labels.shape != taken.shape or labels.dtype != torch.int64 or int(labels.min()) < 0:
        count = len(shown)
        raise ZoovetError(f"labels of {count} images must be int64 [{count}] from 0, got {list(labels.shape)}")
    if int(labels.max()) >= network.num_classes:
        raise ZoovetError(f"the network tells {network.num_classes} classes apart, got the label {int(labels.max())}")
    unit = float(margins_of(logits, taken).abs().median())
    return Seekers(network, shown, labels.to(network.device), unit or 1.0, max_images)
