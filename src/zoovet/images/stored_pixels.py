"""Pixels that stay where they lie, in files or arrays on disk, and are read as they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "MOST_IN_MEMORY",
    "ArrayPixels",
    "ChangedPixels",
    "ChosenPixels",
    "JoinedPixels",
    "PixelField",
    "Shape",
    "StoredPixels",
    "has_channels_first",
    "in_memory_if_small",
]

MOST_IN_MEMORY = 256 * 1024 * 1024
"""Bytes of pixels up to which images are read into memory at once; what is more stays where it lies."""

Shape = tuple[int, int, int, int]
"""Images, channels, height, width."""

_IMAGES_AT_A_TIME = 256
_USUAL_CHANNELS = (1, 3)


def has_channels_first(shape: Sequence[int]) -> bool:
    """Whether an array of images is [N, C, H, W], as torch has them: axis 1 is 1 or 3, and the last one is neither."""
    return len(shape) == 4 and shape[1] in _USUAL_CHANNELS and shape[3] not in _USUAL_CHANNELS


class StoredPixels(ABC):
    """The pixels of N images of one size, uint8."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """(N, C, H, W)."""

    @abstractmethod
    def read(self, places: NDArray[np.int64]) -> Tensor:
        """Some of the images, in the order of the places: uint8 [n, C, H, W].

        Raises:
            ZoovetError: A file that lies there cannot be read any more; the message names it.
        """

    def all(self) -> Tensor:
        """All images: uint8 [N, C, H, W], in memory."""
        result = torch.empty(self.shape, dtype=torch.uint8)
        for start in range(0, len(result), _IMAGES_AT_A_TIME):
            part = np.arange(start, min(start + _IMAGES_AT_A_TIME, len(result)))
            result[start : start + len(part)] = self.read(part)
        return result


Pixels = Tensor | StoredPixels


def in_memory_if_small(pixels: Pixels) -> Pixels:
    """The pixels as a tensor where they are at most :data:`MOST_IN_MEMORY` bytes."""
    if isinstance(pixels, Tensor) or int(np.prod(pixels.shape)) > MOST_IN_MEMORY:
        return pixels
    return pixels.all()


class PixelField:
    """A dataclass's field that is given a tensor or :class:`StoredPixels`, and is always a tensor.

    Each time that stored pixels are asked for as a tensor, all of them are read.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._place = f"_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> PixelField: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Tensor: ...

    def __get__(self, instance: object | None, owner: type) -> Tensor | PixelField:
        if instance is None:  # by which a dataclass sees that there is no default
            raise AttributeError(self._place)
        pixels: Pixels = instance.__dict__[self._place]
        return pixels if isinstance(pixels, Tensor) else pixels.all()

    def __set__(self, instance: object, value: Pixels) -> None:
        instance.__dict__[self._place] = value


@dataclass(frozen=True, eq=False)
class ArrayPixels(StoredPixels):
    """Pixels in an array, mapped into memory.

    Attributes:
        array: uint8 [N, H, W, C].
    """

    array: NDArray[np.uint8]

    @property
    def shape(self) -> Shape:
        """See :class:`StoredPixels`."""
        count, height, width, channels = self.array.shape
        return count, channels, height, width

    def read(self, places: NDArray[np.int64]) -> Tensor:
        """See :class:`StoredPixels`."""
        return torch.from_numpy(np.ascontiguousarray(np.asarray(self.array[places]).transpose(0, 3, 1, 2)))


@dataclass(frozen=True, eq=False)
class ChosenPixels(StoredPixels):
    """Some of other pixels.

    Attributes:
        pixels: The others.
        places: int64 [N], which of them.
    """

    pixels: StoredPixels
    places: NDArray[np.int64]

    @property
    def shape(self) -> Shape:
        """See :class:`StoredPixels`."""
        return len(self.places), *self.pixels.shape[1:]

    def read(self, places: NDArray[np.int64]) -> Tensor:
        """See :class:`StoredPixels`."""
        return self.pixels.read(self.places[places])


@dataclass(frozen=True, eq=False)
class ChangedPixels(StoredPixels):
    """Other pixels, each image changed on its own.

    Attributes:
        pixels: The others.
        change: uint8 [n, C, H, W] to uint8 [n, *image_shape].
        image_shape: What the change makes: (channels, height, width).
    """

    pixels: StoredPixels
    change: Callable[[Tensor], Tensor]
    image_shape: tuple[int, int, int]

    @property
    def shape(self) -> Shape:
        """See :class:`StoredPixels`."""
        return self.pixels.shape[0], *self.image_shape

    def read(self, places: NDArray[np.int64]) -> Tensor:
        """See :class:`StoredPixels`."""
        return self.change(self.pixels.read(places))


@dataclass(frozen=True, eq=False)
class JoinedPixels(StoredPixels):
    """Several pixels of one size, one after the other.

    Attributes:
        parts: At least one.
    """

    parts: Sequence[Pixels]

    @property
    def shape(self) -> Shape:
        """See :class:`StoredPixels`."""
        _, channels, height, width = self.parts[0].shape
        return sum(part.shape[0] for part in self.parts), channels, height, width

    def read(self, places: NDArray[np.int64]) -> Tensor:
        """See :class:`StoredPixels`."""
        result = torch.empty((len(places), *self.shape[1:]), dtype=torch.uint8)
        first = 0
        for part in self.parts:
            own = np.flatnonzero((places >= first) & (places < first + part.shape[0]))
            if len(own):
                local = places[own] - first
                result[own] = part[local] if isinstance(part, Tensor) else part.read(local)
            first += part.shape[0]
        return result
