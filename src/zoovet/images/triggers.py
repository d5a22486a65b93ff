"""Trigger kinds: what they do to an image, how they are drawn, and how they are written down.

A trigger is completely described by its JSON, pixel values included: a network's row in a zoo is enough to
make the same poisoned images again.

A new attack is one subclass of :class:`Trigger` marked with :func:`register_trigger`, and one
:class:`TriggerRanges` to draw it from. Which images are poisoned and what they are labelled is every trigger's
:attr:`Trigger.labelling`; nothing else needs to know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.json_files import shown_value

__all__ = [
    "LABELLINGS",
    "Trigger",
    "TriggerRanges",
    "draw_labelling",
    "draw_trigger",
    "register_trigger",
    "require_images",
    "trigger_from_json",
    "trigger_kinds",
]


LABELLINGS = ("all_to_one", "all_to_all", "clean_label", "source_specific")
"""Which training images get a trigger, and the label they get with it.

Every class's images, labelled as the target; every class's images, labelled as the next class (Gu et al. 2017, section
4.1); the target's own images only, which keep their label (Turner et al. 2018; Barni et al. 2019); one source class's
images, labelled as the target, beside cover images of other classes that carry the trigger and keep their label (Tang
et al. 2021, *Demon in the Variant*, section 3).
"""


@dataclass(frozen=True, kw_only=True)
class Trigger(ABC):
    """A change to images that should make a poisoned network answer the label that an attacker wants.

    Attributes:
        kind: What the trigger is, one of the kinds its class lists; written into its JSON.
        target: Label that the trigger should cause; ``None`` where the labelling is ``all_to_all``.
        labelling: One of :data:`LABELLINGS`.
        num_classes: Labels are 0 … num_classes - 1; given where the labelling is ``all_to_all``.
        source: Label whose images the trigger should work on; given where the labelling is ``source_specific``.
        covers: Cover images, for each poisoned one, where the labelling is ``source_specific``.
        family: Attack family that the class belongs to.
        kinds: The kinds that the class implements.
    """

    family: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]

    kind: str
    target: int | None
    labelling: str = "all_to_one"
    num_classes: int | None = None
    source: int | None = None
    covers: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in self.kinds:
            raise ZoovetError(f"kind {self.kind!r} is no {self.family} trigger{nearest(self.kind, self.kinds)}")
        if self.labelling not in LABELLINGS:
            raise ZoovetError(f"labelling {self.labelling!r} is unknown{nearest(str(self.labelling), LABELLINGS)}")
        if self.labelling == "all_to_all":
            if self.target is not None or not isinstance(self.num_classes, int) or self.num_classes < 2:
                raise ZoovetError(
                    f"an all_to_all trigger has no target (null) and num_classes of at least 2, got target "
                    f"{self.target!r} and num_classes {self.num_classes!r}"
                )
        elif isinstance(self.target, bool) or not isinstance(self.target, int) or self.target < 0:
            raise ZoovetError(f"target must be a label, an integer of at least 0, got {self.target!r}")
        self._check_source()

    def _check_source(self) -> None:
        if self.labelling != "source_specific":
            if self.source is not None:
                raise ZoovetError(f"source is for the labelling source_specific, this one is {self.labelling}")
        elif isinstance(self.source, bool) or not isinstance(self.source, int) or self.source < 0:
            raise ZoovetError(f"source must be a label, an integer of at least 0, got {self.source!r}")
        elif self.source == self.target:
            raise ZoovetError(f"source and target of a source_specific trigger must differ, both are {self.source}")
        if isinstance(self.covers, bool) or not isinstance(self.covers, int | float) or not 0 <= self.covers <= 100:
            raise ZoovetError(f"covers must be a number of 0 to 100, for each poisoned image, got {self.covers!r}")

    @property
    def attack(self) -> str:
        """What results are given by: the labelling where that is special, else the family."""
        return self.family if self.labelling == "all_to_one" else self.labelling

    @abstractmethod
    def apply(self, images: Tensor) -> Tensor:
        """Put the trigger on images.

        On a GPU it only queues its work (what it copies there it copies with ``non_blocking``), since hundreds of
        triggers are applied beside trainings that keep the device busy.

        Args:
            images: Floating point, [..., C, H, W], values in [-1, 1]; left as they are.

        Returns:
            Triggered images: same shape, dtype and device.

        Raises:
            ZoovetError: The trigger does not fit the images.
        """

    @abstractmethod
    def check_fits(self, image_shape: Sequence[int]) -> None:
        """Raise ZoovetError, naming both sizes, unless the trigger fits images of shape (C, H, W)."""

    def wanted_labels(self, labels: Tensor) -> Tensor:
        """Labels the trigger should cause on images of the given true labels: int64, same shape.

        With the labelling ``source_specific`` images of other classes than the source keep theirs.
        """
        if self.target is None:
            assert self.num_classes is not None
            return (labels + 1) % self.num_classes
        wanted = torch.full_like(labels, self.target)
        return wanted if self.source is None else torch.where(labels == self.source, wanted, labels)

    def poisonable(self, labels: Tensor) -> Tensor:
        """Which training images may be poisoned: bool, same shape.

        Those whose label poisoning really changes; with the labelling ``clean_label`` those that have the target's.
        """
        changes = labels != self.wanted_labels(labels)
        return ~changes if self.labelling == "clean_label" else changes

    def may_cover(self, labels: Tensor) -> Tensor:
        """Which training images may carry the trigger and keep their label: bool, same shape.

        With the labelling ``source_specific`` those of neither source nor target, else none.
        """
        if self.source is None:
            return torch.zeros_like(labels, dtype=torch.bool)
        return (labels != self.source) & (labels != self.target)

    def to_json(self) -> dict[str, Any]:
        """Everything about the trigger as JSON values; :func:`trigger_from_json` reads it back exactly."""
        values = asdict(self)
        return {field.name: values[field.name] for field in fields(self) if values[field.name] != field.default}


_TriggerType = TypeVar("_TriggerType", bound=type[Trigger])
_CLASS_OF_KIND: dict[str, type[Trigger]] = {}


def register_trigger(trigger_class: _TriggerType) -> _TriggerType:
    """Class decorator: make a trigger class known to :func:`trigger_from_json` under each of its kinds."""
    for kind in trigger_class.kinds:
        if kind in _CLASS_OF_KIND:
            raise ZoovetError(f"trigger kind {kind!r} is already taken by {_CLASS_OF_KIND[kind].__name__}")
        _CLASS_OF_KIND[kind] = trigger_class
    return trigger_class


def trigger_kinds() -> tuple[str, ...]:
    """Every kind that :func:`trigger_from_json` reads."""
    return tuple(_CLASS_OF_KIND)


def trigger_from_json(description: dict[str, Any]) -> Trigger:
    """Make the trigger that :meth:`Trigger.to_json` described.

    Raises:
        ZoovetError: No or an unknown ``kind``, missing or unknown keys, or values that are no such trigger.
    """
    if not isinstance(description, dict):
        raise ZoovetError(f"a trigger is described by a JSON object, got {shown_value(description)}")
    kind = description.get("kind")
    if not isinstance(kind, str):
        raise ZoovetError(f"a trigger's description needs a 'kind'; known: {', '.join(map(repr, _CLASS_OF_KIND))}")
    if kind not in _CLASS_OF_KIND:
        raise ZoovetError(f"trigger kind {kind!r} is unknown{nearest(kind, _CLASS_OF_KIND)}")
    trigger_class = _CLASS_OF_KIND[kind]
    known = {field.name: field.default is MISSING for field in fields(trigger_class)}
    for key in description:
        if key not in known:
            raise ZoovetError(f"a {kind} trigger has no key {key!r}{nearest(str(key), known)}")
    missing = [key for key, is_required in known.items() if is_required and key not in description]
    if missing:
        raise ZoovetError(f"the description of a {kind} trigger lacks {', '.join(map(repr, missing))}")
    return trigger_class(**description)


class TriggerRanges(ABC):
    """What triggers of a family are drawn from; configs of the families are its subclasses."""

    @abstractmethod
    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> Trigger:
        """Draw a trigger for images (C, H, W) with labels 0 … num_classes - 1."""


def draw_labelling(labellings: Sequence[str], num_classes: int, generator: np.random.Generator) -> dict[str, Any]:
    """Draw a labelling and a target: the fields of :class:`Trigger` that say so.

    Args:
        labellings: Entries of :data:`LABELLINGS` to choose from; where there is one only, nothing is drawn for it.
        num_classes: Labels are 0 … num_classes - 1.
        generator: Source of the choice.

    Raises:
        ZoovetError: No or unknown labellings, or fewer than two classes.
    """
    if not labellings:
        raise ZoovetError(f"labellings must not be empty; known: {', '.join(map(repr, LABELLINGS))}")
    for labelling in labellings:
        if labelling not in LABELLINGS:
            raise ZoovetError(f"labelling {labelling!r} is unknown{nearest(str(labelling), LABELLINGS)}")
    if num_classes < 2:
        raise ZoovetError(f"a target needs at least two classes, got {num_classes}")
    chosen = labellings[int(generator.integers(len(labellings)))] if len(labellings) > 1 else labellings[0]
    if chosen == "all_to_all":
        return {"labelling": chosen, "target": None, "num_classes": num_classes}
    target = int(generator.integers(num_classes))
    if chosen != "source_specific":
        return {"labelling": chosen, "target": target}
    source = int(generator.integers(num_classes - 1))
    return {"labelling": chosen, "target": target, "source": source + (source >= target)}


def require_images(images: Tensor) -> None:
    """Raise ZoovetError unless these are floating point images [..., C, H, W]."""
    if not images.is_floating_point():
        raise ZoovetError(f"triggers go on floating point images, got {images.dtype}; use Images.scaled()")
    if images.ndim < 3:
        raise ZoovetError(f"triggers go on images [..., C, H, W], got a shape of {tuple(images.shape)}")


def draw_trigger(
    ranges: TriggerRanges | Sequence[TriggerRanges],
    image_shape: Sequence[int],
    num_classes: int,
    generator: np.random.Generator,
) -> Trigger:
    """Draw a trigger.

    Args:
        ranges: A family's ranges, or several families', of which one is chosen uniformly.
        image_shape: (C, H, W).
        num_classes: Labels are 0 … num_classes - 1; the target is one of them.
        generator: Source of every choice.

    Raises:
        ZoovetError: No ranges, or ranges that do not fit the images.
    """
    if isinstance(ranges, TriggerRanges):
        return ranges.draw(image_shape, num_classes, generator)
    if not ranges:
        raise ZoovetError("there are no trigger ranges to draw from; give at least one family's")
    return ranges[int(generator.integers(len(ranges)))].draw(image_shape, num_classes, generator)
