"""InputScaling: what numbers a network reads for the pixels of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.json_values import check_keys, number
from zoovet.printable import with_article

__all__ = ["SCALING_PRESETS", "ZOO_SCALING", "InputScaling", "scaling_preset", "stated_scaling"]

_LARGEST, _SMALLEST = 1e6, 1e-6
_MAX_CHANNELS = 1024
_DIGITS = 5
_FAR_FACTOR, _FAR_SHIFT = 8.0, 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class InputScaling:
    """From a pixel, 0 black to 255 white, to the number that a network reads: to a range, minus mean, over deviation.

    Two scalings are equal where they mean the same, to five digits: [0, 1] with mean 0.5 and deviation 0.5 is [-1, 1].

    Attributes:
        low, high: What 0 and 255 become at first.
        mean: Then subtracted: a number for each channel, or one for all.
        deviation: Then divided by: a number for each channel, or one for all.

    Raises:
        ZoovetError: A number is not finite or larger than a million, ``low`` is not below ``high``, a deviation is
            below a millionth, or mean and deviation are for different numbers of channels.
    """

    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name, numbers in (("range", (self.low, self.high)), ("mean", self.mean), ("deviation", self.deviation)):
            if not 1 <= len(numbers) <= _MAX_CHANNELS:
                raise ZoovetError(
                    f"an input scaling's {name} must hold 1 to {_MAX_CHANNELS} numbers, got {len(numbers)}"
                )
            for value in numbers:
                if not abs(value) <= _LARGEST:
                    raise ZoovetError(
                        f"an input scaling's {name} must be finite and at most {_LARGEST:g}, got {value!r}"
                    )
        if not self.low < self.high:
            raise ZoovetError(
                f"an input scaling's range must be LOW,HIGH with LOW < HIGH, got {self.low:g},{self.high:g}"
            )
        if min(self.deviation) < _SMALLEST:
            raise ZoovetError(
                f"an input scaling's deviation must be at least {_SMALLEST:g}, got {min(self.deviation):g}"
            )
        if len({len(self.mean), len(self.deviation)} - {1}) > 1:
            raise ZoovetError(
                f"an input scaling's mean and deviation must be for the same channels, got {len(self.mean)} and "
                f"{len(self.deviation)} numbers"
            )

    def __eq__(self, other: object) -> bool:
        return self._meaning == other._meaning if isinstance(other, InputScaling) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._meaning)

    @property
    def num_channels(self) -> int | None:
        """Channels of the images that it is for; ``None`` where one number is for all."""
        length = max(len(self.mean), len(self.deviation))
        return None if length == 1 else length

    def require_channels(self, channels: int) -> InputScaling:
        """The scaling itself.

        Raises:
            ZoovetError: It is for another number of channels.
        """
        if self.num_channels not in (None, channels):
            raise ZoovetError(
                f"the input scaling {self.describe()} is for {self.num_channels} channels, but images have {channels}; "
                f"give one mean and one deviation, or {channels} of each"
            )
        return self

    def affine(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Gain and offset of each channel: a pixel of u · 255, u in [0, 1], becomes gain · u + offset.

        Raises:
            ZoovetError: It is for another number of channels.
        """
        self.require_channels(channels)
        means, deviations = (_spread(numbers, channels) for numbers in (self.mean, self.deviation))
        gains = tuple((self.high - self.low) / deviation for deviation in deviations)
        offsets = tuple((self.low - mean) / deviation for mean, deviation in zip(means, deviations, strict=True))
        return gains, offsets

    def bounds(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The lowest and the highest number that a pixel of each channel becomes.

        Raises:
            ZoovetError: It is for another number of channels.
        """
        gains, offsets = self.affine(channels)
        return offsets, tuple(gain + offset for gain, offset in zip(gains, offsets, strict=True))

    def is_far_from(self, other: InputScaling, channels: int) -> bool:
        """Whether networks that read it learn so differently from those of another scaling that these say little of it.

        Far is a range of more than eight times or less than an eighth of the other's width in a channel, or one whose
        middle lies more than twice half its width farther from 0 than the other's does, in each its own units. [0, 255]
        is far from [-1, 1]; [0, 1] and the usual means and deviations are not.

        Args:
            other: What it is compared with.
            channels: Of the images.

        Raises:
            ZoovetError: One of both is for another number of channels.
        """
        for gain, offset, other_gain, other_offset in zip(*self.affine(channels), *other.affine(channels), strict=True):
            factor, shift = gain / other_gain, 2 * (offset / gain - other_offset / other_gain)
            if not 1 / _FAR_FACTOR <= factor <= _FAR_FACTOR or abs(shift) > _FAR_SHIFT:
                return True
        return False

    def apply(self, images: Tensor) -> Tensor:
        """Images as a network reads them.

        Args:
            images: uint8 [..., C, H, W].

        Returns:
            float32 [..., C, H, W].

        Raises:
            ZoovetError: They are no uint8, or have another number of channels than the scaling is for.
        """
        if images.dtype != torch.uint8 or images.ndim < 3:
            raise ZoovetError(
                f"images to be scaled must be uint8 [..., C, H, W], got {images.dtype} {list(images.shape)}"
            )
        self.require_channels(images.shape[-3])
        mean, deviation = (images.new_tensor(each, dtype=torch.float32) for each in (self.mean, self.deviation))
        mean, deviation = mean.view(-1, 1, 1), deviation.view(-1, 1, 1)
        return (images.float() / 255 * (self.high - self.low) + self.low - mean) / deviation

    def describe(self) -> str:
        """For people: ``[-1, 1]``, or ``[0, 1] minus 0.286, divided by 0.353``; the preset's name behind it."""
        text = f"[{self.low:g}, {self.high:g}]"
        if any(self.mean):
            text += f" minus {_in_words(self.mean)}"
        if any(value != 1 for value in self.deviation):
            text += f"{',' if any(self.mean) else ''} divided by {_in_words(self.deviation)}"
        name = next((name for name, preset in SCALING_PRESETS.items() if preset == self), None)
        return text if name is None else f"{text} ({name})"

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON values that :meth:`from_json` reads."""
        return {"range": [self.low, self.high], "mean": list(self.mean), "deviation": list(self.deviation)}

    @classmethod
    def from_json(cls, data: Any) -> InputScaling:
        """Read what :meth:`to_json` wrote.

        Raises:
            ZoovetError: A key is missing or unknown, or a value is not as it has to be.
        """
        names = ("range", "mean", "deviation")
        check_keys(data, names, names, "an input scaling")
        input_range, mean, deviation = (_numbers(data[name], name) for name in names)
        if len(input_range) != 2:
            raise ZoovetError(f"an input scaling's range must hold 2 numbers, got {len(input_range)}")
        return cls(low=input_range[0], high=input_range[1], mean=mean, deviation=deviation)

    @property
    def _meaning(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Gain of each channel, and offset in its units, rounded; one number where all channels agree.

        Numbers that were float32 once, as buffers of a module are, are rounded first.
        """
        gains, starts = [], []
        channels = self.num_channels or 1
        low, high = (_rounded(value, _DIGITS + 1) for value in (self.low, self.high))
        for pair in zip(_spread(self.mean, channels), _spread(self.deviation, channels), strict=True):
            mean, deviation = (_rounded(value, _DIGITS + 1) for value in pair)
            span = high - low or self.high - self.low
            gains.append(_rounded(span / deviation, _DIGITS))
            starts.append(round((low - mean) / span, _DIGITS) + 0.0)
        if len(set(zip(gains, starts, strict=True))) == 1:
            return (gains[0],), (starts[0],)
        return tuple(gains), tuple(starts)


SCALING_PRESETS = MappingProxyType(
    {
        "symmetric": InputScaling(low=-1.0, high=1.0),
        "unit": InputScaling(),
        "byte": InputScaling(high=255.0),
        "imagenet": InputScaling(mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225)),
        "cifar10": InputScaling(mean=(0.4914, 0.4822, 0.4465), deviation=(0.247, 0.2435, 0.2616)),
        "mnist": InputScaling(mean=(0.1307,), deviation=(0.3081,)),
        "fashion_mnist": InputScaling(mean=(0.286,), deviation=(0.353,)),
    }
)
"""Usual scalings by name. zoovet's own networks read ``symmetric``; torchvision's ``ToTensor`` makes ``unit``."""


ZOO_SCALING = SCALING_PRESETS["symmetric"]
"""What the networks of all zoos that zoovet builds read, and with them its detectors and repairers."""


def scaling_preset(name: InputScaling | str) -> InputScaling:
    """One of :data:`SCALING_PRESETS` by its name; an input scaling stands for itself.

    Raises:
        ZoovetError: There is none of the name, whose message names the nearest; or it is neither.
    """
    if isinstance(name, InputScaling):
        return name
    _require_name(name)
    if name not in SCALING_PRESETS:
        raise ZoovetError(f"the input scaling {name!r} is unknown{nearest(name, SCALING_PRESETS)}")
    return SCALING_PRESETS[name]


def stated_scaling(
    name: str | None,
    input_range: tuple[float, ...] | None,
    mean: tuple[float, ...] | None,
    deviation: tuple[float, ...] | None,
) -> InputScaling | None:
    """What is said of an input scaling, by name or in numbers; ``None`` where nothing is.

    Args:
        name: One of :data:`SCALING_PRESETS`; then no numbers.
        input_range: What pixels of 0 and 255 become; (0, 1) where other numbers are said alone.
        mean, deviation: As of :class:`InputScaling`.

    Raises:
        ZoovetError: The name is unknown, or the numbers are none of a scaling.
    """
    if name is not None:
        return scaling_preset(name)
    if input_range is None and mean is None and deviation is None:
        return None
    low, high = input_range or (0.0, 1.0)
    return InputScaling(low=low, high=high, mean=mean or (0.0,), deviation=deviation or (1.0,))


def _require_name(value: object) -> None:
    if not isinstance(value, str):
        known = ", ".join(SCALING_PRESETS)
        kind = type(value).__name__
        raise ZoovetError(f"an input scaling is a zoovet.InputScaling or a name ({known}), got {with_article(kind)}")


def _spread(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    return tuple(numbers) * (channels if len(numbers) == 1 else 1)


def _numbers(value: Any, name: str) -> tuple[float, ...]:
    what = f"an input scaling's {name}"
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_CHANNELS:
        raise ZoovetError(f"{what} must be a list of 1 to {_MAX_CHANNELS} numbers")
    return tuple(number(item, what) for item in value)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _in_words(numbers: Sequence[float]) -> str:
    """``0.5``, or ``(0.485, 0.456, 0.406)``."""
    shown = ", ".join(f"{value:g}" for value in numbers[:4]) + (", …" if len(numbers) > 4 else "")
    return shown if len(numbers) == 1 else f"({shown})"
