"""Trigger kinds: what they do to an image, how they are drawn, and how they are written down.

A trigger is completely described by its JSON, pixel values included: a network's row in a zoo is enough to
make the same poisoned images again.

A new attack is one subclass of :class:`Trigger` marked with :func:`register_trigger`, and one
:class:`TriggerRanges` to draw it from. Attacks that choose other images to poison (clean-label) or other labels
(all-to-all) override :meth:`Trigger.poisonable` and :meth:`Trigger.wanted_labels`; nothing else needs to know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError, nearest

__all__ = [
    "Trigger",
    "TriggerRanges",
    "draw_trigger",
    "register_trigger",
    "trigger_from_json",
    "trigger_kinds",
]


@dataclass(frozen=True, kw_only=True)
class Trigger(ABC):
    """A change to images that should make a poisoned network answer ``target``.

    Attributes:
        kind: What the trigger is, one of the kinds its class lists; written into its JSON.
        target: Label that the trigger should cause.
        family: Attack family that the class belongs to; results are given by family.
        kinds: The kinds that the class implements.
    """

    family: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]

    kind: str
    target: int

    def __post_init__(self) -> None:
        if self.kind not in self.kinds:
            raise ZoovetError(f"kind {self.kind!r} is no {self.family} trigger{nearest(self.kind, self.kinds)}")
        if isinstance(self.target, bool) or not isinstance(self.target, int) or self.target < 0:
            raise ZoovetError(f"target must be a label, an integer of at least 0, got {self.target!r}")

    @abstractmethod
    def apply(self, images: Tensor) -> Tensor:
        """Put the trigger on images.

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
        """Labels the trigger should cause on images of the given true labels: int64, same shape."""
        return torch.full_like(labels, self.target)

    def poisonable(self, labels: Tensor) -> Tensor:
        """Which training images may be poisoned: bool, same shape. Those whose label poisoning really changes."""
        return labels != self.wanted_labels(labels)

    def to_json(self) -> dict[str, Any]:
        """Everything about the trigger as JSON values; :func:`trigger_from_json` reads it back exactly."""
        return asdict(self)


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
        raise ZoovetError(f"a trigger is described by a JSON object, got {type(description).__name__}")
    kind = description.get("kind")
    if not isinstance(kind, str):
        raise ZoovetError(f"a trigger's description needs a 'kind'; known: {', '.join(map(repr, _CLASS_OF_KIND))}")
    if kind not in _CLASS_OF_KIND:
        raise ZoovetError(f"trigger kind {kind!r} is unknown{nearest(kind, _CLASS_OF_KIND)}")
    trigger_class = _CLASS_OF_KIND[kind]
    known = [field.name for field in fields(trigger_class)]
    for key in description:
        if key not in known:
            raise ZoovetError(f"a {kind} trigger has no key {key!r}{nearest(str(key), known)}")
    missing = [key for key in known if key not in description]
    if missing:
        raise ZoovetError(f"the description of a {kind} trigger lacks {', '.join(map(repr, missing))}")
    return trigger_class(**description)


class TriggerRanges(ABC):
    """What triggers of a family are drawn from; configs of the families are its subclasses."""

    @abstractmethod
    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> Trigger:
        """Draw a trigger for images (C, H, W) with labels 0 … num_classes - 1."""


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
