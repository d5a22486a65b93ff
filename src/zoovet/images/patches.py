"""Patch triggers: a rectangle of fixed pixel values at a fixed place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.images.triggers import Trigger, TriggerRanges, draw_labelling, register_trigger, require_images

__all__ = ["PATCH_KINDS", "PatchRanges", "PatchTrigger", "patch_values"]

PATCH_KINDS = ("white", "checker", "random_binary", "random_gray", "plain")
"""What fills a patch: all white, a checkerboard (white at its top left), random black and white, random grays, one
random colour."""

Values = tuple[tuple[tuple[float, ...], ...], ...]
"""Pixel values [channels, height, width] as nested tuples, so that a trigger is immutable and hashable."""


@register_trigger
@dataclass(frozen=True, kw_only=True)
class PatchTrigger(Trigger):
    """A rectangle of fixed pixel values at a fixed place, blended over the image.

    Inside the rectangle a pixel becomes ``(1 - weight) · image + weight · value`` (BadNets, Gu et al. 2017, at
    weight 1).

    Attributes:
        row: First row of the patch, 0 at the top.
        col: First column of the patch, 0 at the left.
        weight: Blend weight in (0, 1]; 1 covers the image.
        values: Pixel values in [-1, 1], [C or 1, height, width]; one channel goes over all of the image's.
    """

    family: ClassVar[str] = "patch"
    kinds: ClassVar[tuple[str, ...]] = PATCH_KINDS

    row: int
    col: int
    weight: float
    values: Values

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("row", "col"):
            place = getattr(self, name)
            if isinstance(place, bool) or not isinstance(place, int) or place < 0:
                raise ZoovetError(f"{name} of a patch must be an integer of at least 0, got {place!r}")
        _check_weight("weight", self.weight)
        object.__setattr__(self, "values", _checked_values(self.values))
        if self.kind in ("white", "checker"):
            expected = patch_values(self.kind, (1, *self.size))
            if any(channel != expected[0] for channel in self.values):
                raise ZoovetError(f"the values of a {self.kind} patch are not {self.kind}; leave values to of_size")

    @classmethod
    def of_size(
        cls,
        kind: str,
        size: int | tuple[int, int],
        *,
        row: int,
        col: int,
        target: int,
        weight: float = 1.0,
        num_channels: int = 1,
        generator: np.random.Generator | None = None,
    ) -> PatchTrigger:
        """Make a patch of a kind and a size: one side in pixels, or (height, width).

        Args:
            kind: One of :data:`PATCH_KINDS`.
            size: Side, or (height, width), in pixels.
            row: First row.
            col: First column.
            target: Label to cause.
            weight: Blend weight in (0, 1].
            num_channels: Channels of the images; random kinds draw each channel on its own.
            generator: Needed by the random kinds.

        Raises:
            ZoovetError: Anything out of range, or a random kind without a generator.
        """
        height, width = (size, size) if isinstance(size, int) else size
        values = patch_values(kind, (num_channels, height, width), generator)
        return cls(kind=kind, target=target, row=row, col=col, weight=weight, values=values)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return len(self.values[0]), len(self.values[0][0])

    def apply(self, images: Tensor) -> Tensor:
        """Blend the patch over its place; see :meth:`Trigger.apply`."""
        require_images(images)
        self.check_fits(images.shape[-3:])
        height, width = self.size
        patch = torch.tensor(self.values, dtype=images.dtype).to(images, non_blocking=True)
        triggered = images.clone()
        place = (..., slice(self.row, self.row + height), slice(self.col, self.col + width))
        triggered[place] = torch.lerp(images[place], patch.expand_as(images[place]), self.weight)
        return triggered

    def check_fits(self, image_shape: Sequence[int]) -> None:
        """Raise ZoovetError where the patch leaves the image or has other channels; see :meth:`Trigger.check_fits`."""
        if len(image_shape) != 3:
            raise ZoovetError(f"a patch goes on images [..., C, H, W], got a shape of {tuple(image_shape)}")
        channels, image_height, image_width = image_shape
        height, width = self.size
        if self.row + height > image_height or self.col + width > image_width:
            raise ZoovetError(
                f"a patch of {height} × {width} pixels at row {self.row}, column {self.col} leaves an image of "
                f"{image_height} × {image_width}"
            )
        if len(self.values) not in (1, channels):
            raise ZoovetError(f"a patch of {len(self.values)} channels does not fit images of {channels}")


@dataclass(frozen=True, kw_only=True)
class PatchRanges(TriggerRanges):
    """What square patches are drawn from; every choice is uniform.

    Attributes:
        kinds: Kinds to choose from, of :data:`PATCH_KINDS`.
        min_size: Least side, in pixels.
        max_size: Greatest side, in pixels; included.
        min_weight: Least blend weight, above 0.
        max_weight: Greatest blend weight, at most 1.
        margin: Pixels between the patch and the image's edge, at least.
        labellings: Labellings to choose from; drawn with the target.
    """

    kinds: tuple[str, ...] = PATCH_KINDS[:4]
    min_size: int = 3
    max_size: int = 4
    min_weight: float = 0.6
    max_weight: float = 1.0
    margin: int = 0
    labellings: tuple[str, ...] = ("all_to_one",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        if not self.kinds:
            raise ZoovetError(f"kinds of patches must not be empty; known: {', '.join(map(repr, PATCH_KINDS))}")
        for kind in self.kinds:
            if kind not in PATCH_KINDS:
                raise ZoovetError(f"patch kind {kind!r} is unknown{nearest(kind, PATCH_KINDS)}")
        if not 1 <= self.min_size <= self.max_size:
            raise ZoovetError(f"patch sizes need 1 ≤ min_size ≤ max_size, got {self.min_size} and {self.max_size}")
        _check_weight("min_weight", self.min_weight)
        _check_weight("max_weight", self.max_weight)
        if self.min_weight > self.max_weight:
            raise ZoovetError(f"min_weight {self.min_weight} is above max_weight {self.max_weight}")
        if self.margin < 0:
            raise ZoovetError(f"margin must be at least 0 pixels, got {self.margin}")

    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> PatchTrigger:
        """Draw kind, side, place, weight, target and pixel values, in this order.

        Raises:
            ZoovetError: The largest patch and its margins do not fit the images, or there are no two classes.
        """
        channels, image_height, image_width = image_shape
        if self.max_size + 2 * self.margin > min(image_height, image_width):
            raise ZoovetError(
                f"patches of up to {self.max_size} pixels with a margin of {self.margin} do not fit images of "
                f"{image_height} × {image_width}; lower max_size or margin"
            )
        kind = self.kinds[int(generator.integers(len(self.kinds)))]
        size = int(generator.integers(self.min_size, self.max_size + 1))
        row = int(generator.integers(self.margin, image_height - size - self.margin + 1))
        col = int(generator.integers(self.margin, image_width - size - self.margin + 1))
        weight = float(generator.uniform(self.min_weight, self.max_weight))
        labels = draw_labelling(self.labellings, num_classes, generator)
        values = patch_values(kind, (channels, size, size), generator)
        return PatchTrigger(kind=kind, row=row, col=col, weight=weight, values=values, **labels)


def patch_values(kind: str, shape: tuple[int, int, int], generator: np.random.Generator | None = None) -> Values:
    """Pixel values of a patch.

    Args:
        kind: One of :data:`PATCH_KINDS`.
        shape: (channels, height, width). ``white`` and ``checker`` give one channel for all.
        generator: Needed by ``random_binary`` (each pixel -1 or 1) and ``random_gray`` (each one of the 256 levels
            of an 8-bit image; ``plain``: one for all pixels of a channel).

    Returns:
        Nested tuples [channels or 1, height, width] of values in [-1, 1].
    """
    channels, height, width = shape
    if min(shape) < 1:
        raise ZoovetError(f"a patch needs at least one pixel and channel, got {channels} × {height} × {width}")
    values: NDArray[np.floating]
    if kind == "white":
        values = np.ones((1, height, width))
    elif kind == "checker":
        values = 1.0 - 2.0 * (np.indices((1, height, width)).sum(axis=0) % 2)
    elif kind not in PATCH_KINDS:
        raise ZoovetError(f"patch kind {kind!r} is unknown{nearest(kind, PATCH_KINDS)}")
    elif generator is None:
        raise ZoovetError(f"a {kind} patch draws its pixels: give a generator")
    elif kind == "random_binary":
        values = 2.0 * generator.integers(2, size=shape) - 1.0
    elif kind == "plain":
        values = np.broadcast_to(generator.integers(256, size=(channels, 1, 1)) / 127.5 - 1.0, shape)
    else:
        values = generator.integers(256, size=shape) / 127.5 - 1.0
    return tuple(tuple(tuple(row) for row in channel) for channel in values.tolist())


def _check_weight(name: str, weight: float) -> None:
    if not isinstance(weight, int | float) or not 0.0 < weight <= 1.0:
        raise ZoovetError(f"{name} of a patch must be above 0 and at most 1, got {weight!r}")


def _checked_values(values: Any) -> Values:
    """Nested tuples of the given [channels, height, width] numbers, checked for shape and range."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ZoovetError("values of a patch must be numbers [channels, height, width], rows of one length") from None
    if array.ndim != 3 or array.size == 0:
        raise ZoovetError(f"values of a patch must be [channels, height, width], got a shape of {array.shape}")
    if not (np.abs(array) <= 1.0).all():
        raise ZoovetError(f"values of a patch must lie in [-1, 1], got {array.min():g} to {array.max():g}")
    return tuple(tuple(tuple(row) for row in channel) for channel in array.tolist())
