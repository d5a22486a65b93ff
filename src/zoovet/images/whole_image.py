"""Triggers that change the whole image: a blended pattern, sinusoidal stripes, a smooth warp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.images.triggers import Trigger, TriggerRanges, draw_labelling, register_trigger, require_images

__all__ = [
    "BlendRanges",
    "BlendTrigger",
    "StripeRanges",
    "StripeTrigger",
    "WarpRanges",
    "WarpTrigger",
]

Grays = tuple[tuple[int, ...], ...]
"""8-bit gray levels [height, width] as nested tuples, so that a trigger is immutable and hashable."""


@register_trigger
@dataclass(frozen=True, kw_only=True)
class BlendTrigger(Trigger):
    """A pattern as large as the image, blended over it: ``(1 - weight) · image + weight · pattern``.

    Source: Chen et al. 2017, *Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning*, the blended
    injection with a random pattern.

    Attributes:
        weight: Blend weight in (0, 1].
        pattern: 8-bit gray levels [H, W]; goes over all of the image's channels.
    """

    family: ClassVar[str] = "blend"
    kinds: ClassVar[tuple[str, ...]] = ("noise_blend",)

    weight: float
    pattern: Grays

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.weight, int | float) or not 0.0 < self.weight <= 1.0:
            raise ZoovetError(f"weight of a blend must be above 0 and at most 1, got {self.weight!r}")
        object.__setattr__(self, "pattern", _checked_grays(self.pattern))

    def apply(self, images: Tensor) -> Tensor:
        """Blend the pattern over the images; see :meth:`Trigger.apply`."""
        require_images(images)
        self.check_fits(images.shape[-3:])
        pattern = (torch.tensor(self.pattern, dtype=images.dtype) / 127.5 - 1).to(images, non_blocking=True)
        return torch.lerp(images, pattern.expand_as(images), self.weight)

    def check_fits(self, image_shape: Sequence[int]) -> None:
        """Raise ZoovetError where the pattern has another size; see :meth:`Trigger.check_fits`."""
        height, width = len(self.pattern), len(self.pattern[0])
        if tuple(image_shape[-2:]) != (height, width):
            raise ZoovetError(
                f"a pattern of {height} × {width} pixels does not cover images of {image_shape[-2]} × {image_shape[-1]}"
            )


@dataclass(frozen=True, kw_only=True)
class BlendRanges(TriggerRanges):
    """What full-image blends are drawn from.

    Attributes:
        min_weight: Least blend weight, above 0.
        max_weight: Greatest blend weight, at most 1.
        labellings: Labellings to choose from.
    """

    min_weight: float = 0.1
    max_weight: float = 0.3
    labellings: tuple[str, ...] = ("all_to_one",)

    def __post_init__(self) -> None:
        _check_bounds("weight", self.min_weight, self.max_weight, greatest=1.0)

    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> BlendTrigger:
        """Draw labelling, target, weight and every pixel's level (uniform in 0 … 255), in this order."""
        labels = draw_labelling(self.labellings, num_classes, generator)
        weight = float(generator.uniform(self.min_weight, self.max_weight))
        pattern = generator.integers(256, size=tuple(image_shape[-2:]))
        return BlendTrigger(kind="noise_blend", weight=weight, pattern=_checked_grays(pattern.tolist()), **labels)


@register_trigger
@dataclass(frozen=True, kw_only=True)
class StripeTrigger(Trigger):
    """Sinusoidal stripes added to the image, clipped to [-1, 1].

    They are ``amplitude · sin(2π · frequency · place + phase)``, where place runs from 0 to 1 along a row or column.

    Source: Barni et al. 2019, *A New Backdoor Attack in CNNs by Training Set Corruption Without Label Poisoning* (SIG),
    section 3, where stripes are vertical and the labelling is ``clean_label``.

    Attributes:
        amplitude: In (0, 2]; images span [-1, 1].
        frequency: Periods over the image, above 0.
        angle: Direction of the wave in radians: 0 varies along columns (vertical stripes), π / 2 along rows.
        phase: In radians.
    """

    family: ClassVar[str] = "stripes"
    kinds: ClassVar[tuple[str, ...]] = ("stripes",)

    amplitude: float
    frequency: float
    angle: float
    phase: float

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("amplitude", "frequency", "angle", "phase"):
            if not isinstance(getattr(self, name), int | float) or not math.isfinite(getattr(self, name)):
                raise ZoovetError(f"{name} of stripes must be a finite number, got {getattr(self, name)!r}")
        if not 0 < self.amplitude <= 2 or self.frequency <= 0:
            raise ZoovetError(
                f"stripes need 0 < amplitude ≤ 2 and frequency > 0, got {self.amplitude} and {self.frequency}"
            )

    def apply(self, images: Tensor) -> Tensor:
        """Add the stripes; see :meth:`Trigger.apply`."""
        require_images(images)
        self.check_fits(images.shape[-3:])
        height, width = images.shape[-2:]
        rows = torch.arange(height, dtype=torch.float64)[:, None] / height
        columns = torch.arange(width, dtype=torch.float64)[None, :] / width
        place = math.cos(self.angle) * columns + math.sin(self.angle) * rows
        wave = self.amplitude * torch.sin(2 * math.pi * self.frequency * place + self.phase)
        return (images + wave.to(images, non_blocking=True)).clamp(-1, 1)

    def check_fits(self, image_shape: Sequence[int]) -> None:
        """Stripes fit every image; see :meth:`Trigger.check_fits`."""


@dataclass(frozen=True, kw_only=True)
class StripeRanges(TriggerRanges):
    """What stripes are drawn from; angle and phase are uniform over a full turn.

    Attributes:
        min_amplitude: Least amplitude, above 0.
        max_amplitude: Greatest amplitude, at most 2.
        min_frequency: Least number of periods over the image.
        max_frequency: Greatest.
        labellings: Labellings to choose from.
    """

    min_amplitude: float = 0.2
    max_amplitude: float = 0.5
    min_frequency: float = 2.0
    max_frequency: float = 8.0
    labellings: tuple[str, ...] = ("all_to_one",)

    def __post_init__(self) -> None:
        _check_bounds("amplitude", self.min_amplitude, self.max_amplitude, greatest=2.0)
        _check_bounds("frequency", self.min_frequency, self.max_frequency)

    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> StripeTrigger:
        """Draw labelling, target, amplitude, frequency, angle and phase, in this order."""
        labels = draw_labelling(self.labellings, num_classes, generator)
        return StripeTrigger(
            kind="stripes",
            amplitude=float(generator.uniform(self.min_amplitude, self.max_amplitude)),
            frequency=float(generator.uniform(self.min_frequency, self.max_frequency)),
            angle=float(generator.uniform(0, math.pi)),
            phase=float(generator.uniform(0, 2 * math.pi)),
            **labels,
        )


@register_trigger
@dataclass(frozen=True, kw_only=True)
class WarpTrigger(Trigger):
    """A smooth warp: pixels move by a coarse random field, interpolated to the image's size.

    Source: Nguyen and Tran 2021, *WaNet: Imperceptible Warping-based Backdoor Attack*, section 3.2: the field is drawn
    in [-1, 1], divided by its mean absolute value, interpolated bicubically, and scaled by the strength.

    Attributes:
        strength: Mean movement at the control points, in pixels.
        control: Control points' movements before scaling, [2 (x, y), k, k], in [-1, 1].
    """

    family: ClassVar[str] = "warp"
    kinds: ClassVar[tuple[str, ...]] = ("warp",)

    strength: float
    control: tuple[tuple[tuple[float, ...], ...], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.strength, int | float) or not 0 < self.strength < math.inf:
            raise ZoovetError(f"strength of a warp must be a number of pixels above 0, got {self.strength!r}")
        try:
            control = np.asarray(self.control, dtype=np.float64)
        except (TypeError, ValueError):
            control = np.empty(0)
        if control.ndim != 3 or control.shape[0] != 2 or min(control.shape) < 2 or not (np.abs(control) <= 1).all():
            raise ZoovetError("control of a warp must be numbers in [-1, 1], [2, k, k] with k of at least 2")
        nested = tuple(tuple(tuple(row) for row in axis) for axis in control.tolist())
        object.__setattr__(self, "control", nested)

    def apply(self, images: Tensor) -> Tensor:
        """Move the pixels; see :meth:`Trigger.apply`."""
        require_images(images)
        self.check_fits(images.shape[-3:])
        flat = images.reshape(-1, *images.shape[-3:])
        grid = _warped_grid(self, images.shape[-2], images.shape[-1]).to(images, non_blocking=True)
        moved = functional.grid_sample(
            flat, grid.expand(len(flat), -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=True
        )
        return moved.reshape(images.shape)

    def check_fits(self, image_shape: Sequence[int]) -> None:
        """Raise ZoovetError where control points are closer than pixels; see :meth:`Trigger.check_fits`."""
        if len(self.control[0]) > min(image_shape[-2:]):
            raise ZoovetError(
                f"{len(self.control[0])} control points do not fit images of {image_shape[-2]} × {image_shape[-1]}"
            )


@lru_cache(maxsize=64)
def _warped_grid(trigger: WarpTrigger, height: int, width: int) -> Tensor:
    """Where each pixel's value comes from, as ``grid_sample`` takes it: [1, H, W, 2] in [-1, 1]."""
    control = torch.tensor(trigger.control, dtype=torch.float64)
    field = (control / control.abs().mean()).unsqueeze(0)
    field = functional.interpolate(field, size=(height, width), mode="bicubic", align_corners=True)
    pixels = torch.tensor([2 / (width - 1), 2 / (height - 1)], dtype=torch.float64)
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, height, dtype=torch.float64),
        torch.linspace(-1, 1, width, dtype=torch.float64),
        indexing="ij",
    )
    identity = torch.stack([columns, rows], dim=-1)
    return (identity + trigger.strength * pixels * field.permute(0, 2, 3, 1)).clamp(-1, 1)


@dataclass(frozen=True, kw_only=True)
class WarpRanges(TriggerRanges):
    """What warps are drawn from.

    Attributes:
        min_strength: Least mean movement, in pixels.
        max_strength: Greatest.
        num_control: Control points a side.
        labellings: Labellings to choose from.
    """

    min_strength: float = 0.8
    max_strength: float = 1.6
    num_control: int = 4
    labellings: tuple[str, ...] = ("all_to_one",)

    def __post_init__(self) -> None:
        _check_bounds("strength", self.min_strength, self.max_strength)
        if self.num_control < 2:
            raise ZoovetError(f"num_control must be at least 2, got {self.num_control}")

    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> WarpTrigger:
        """Draw labelling, target, strength and the control points' movements, in this order."""
        labels = draw_labelling(self.labellings, num_classes, generator)
        strength = float(generator.uniform(self.min_strength, self.max_strength))
        control = generator.uniform(-1, 1, size=(2, self.num_control, self.num_control)).tolist()
        return WarpTrigger(kind="warp", strength=strength, control=control, **labels)


def _check_bounds(name: str, least: float, most: float, *, greatest: float = math.inf) -> None:
    if not 0 < least <= most <= greatest or not math.isfinite(most):
        limit = "" if greatest == math.inf else f" ≤ {greatest:g}"
        raise ZoovetError(f"a trigger needs 0 < min_{name} ≤ max_{name}{limit}, got {least} and {most}")


def _checked_grays(values: Sequence[Sequence[int]]) -> Grays:
    """Nested tuples of 8-bit levels, checked for shape and range."""
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "iu":
        raise ZoovetError("a pattern must be integers [height, width], rows of one length")
    if array.min() < 0 or array.max() > 255:
        raise ZoovetError(f"levels of a pattern must lie in 0 to 255, got {array.min()} to {array.max()}")
    return tuple(tuple(row) for row in array.tolist())
