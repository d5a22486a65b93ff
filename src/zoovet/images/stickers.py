"""Sticker triggers: a small picture with a mask, of a file or drawn, laid over the image at a fixed place."""

from __future__ import annotations

import base64
import binascii
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images.placed_ranges import PlacedRanges
from zoovet.images.sticker_designs import STICKER_DESIGNS, drawn_sticker
from zoovet.images.triggers import Trigger, register_trigger, require_images
from zoovet.printable import printable
from zoovet.text_files import open_regular

__all__ = ["MAX_STICKER_SIDE", "StickerRanges", "StickerTrigger"]

MAX_STICKER_SIDE = 64
"""Pixels that a sticker has a side at most: its pixels stand in the row of every network that it poisons."""

_LUMA = (0.299, 0.587, 0.114)


@register_trigger
@dataclass(frozen=True, kw_only=True)
class StickerTrigger(Trigger):
    """A picture with a mask, laid over the image at a fixed place.

    Where the mask is ``cover`` in [0, 1], a pixel becomes ``(1 - weight · cover) · image + weight · cover · picture``.
    On images of one channel the picture is its luma.

    Attributes:
        row: First row of the picture, 0 at the top.
        col: First column, 0 at the left.
        weight: Blend weight in (0, 1].
        size: Height and width in pixels, of :data:`MAX_STICKER_SIDE` at most.
        pixels: Red, green, blue and cover of each pixel, a byte each, row by row, in base64: text, so that JSON has it.
    """

    family: ClassVar[str] = "sticker"
    kinds: ClassVar[tuple[str, ...]] = ("sticker",)

    row: int
    col: int
    weight: float
    size: tuple[int, int]
    pixels: str

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("row", "col"):
            place = getattr(self, name)
            if isinstance(place, bool) or not isinstance(place, int) or place < 0:
                raise ZoovetError(f"{name} of a sticker must be an integer of at least 0, got {place!r}")
        if not isinstance(self.weight, int | float) or not 0 < self.weight <= 1:
            raise ZoovetError(f"weight of a sticker must be above 0 and at most 1, got {self.weight!r}")
        size = tuple(self.size) if isinstance(self.size, list | tuple) else ()
        if len(size) != 2 or not all(type(side) is int and 1 <= side <= MAX_STICKER_SIDE for side in size):
            raise ZoovetError(
                f"size of a sticker must be a height and a width of 1 to {MAX_STICKER_SIDE} pixels, got {self.size!r}"
            )
        object.__setattr__(self, "size", size)
        if not _decoded(self.pixels, size)[..., 3].any():
            raise ZoovetError("a sticker whose mask is empty changes no image")

    @classmethod
    def of_picture(
        cls, picture: NDArray[np.uint8], *, row: int, col: int, target: int, weight: float = 1.0
    ) -> StickerTrigger:
        """A sticker of a picture's pixels.

        Args:
            picture: uint8 [height, width, 4]: red, green, blue and cover (0 none, 255 whole).
            row: First row.
            col: First column.
            target: Label to cause.
            weight: Blend weight in (0, 1].

        Raises:
            ZoovetError: Another shape or dtype, a picture that is too large or has an empty mask, or a number out of
                range.
        """
        return cls(kind="sticker", row=row, col=col, target=target, weight=weight, **_written(picture))

    @property
    def picture(self) -> NDArray[np.uint8]:
        """Red, green, blue and cover, uint8 [height, width, 4]."""
        return _decoded(self.pixels, self.size)

    def apply(self, images: Tensor) -> Tensor:
        """Lay the picture over its place; see :meth:`Trigger.apply`."""
        require_images(images)
        self.check_fits(images.shape[-3:])
        height, width = self.size
        values, cover = (part.to(images, non_blocking=True) for part in _values(self, images.shape[-3]))
        triggered = images.clone()
        place = (..., slice(self.row, self.row + height), slice(self.col, self.col + width))
        triggered[place] = torch.lerp(images[place], values.expand_as(images[place]), cover.expand_as(images[place]))
        return triggered

    def check_fits(self, image_shape: Sequence[int]) -> None:
        """Raise ZoovetError where it leaves the image, or that is neither gray nor red, green, blue."""
        if len(image_shape) != 3:
            raise ZoovetError(f"a sticker goes on images [..., C, H, W], got a shape of {tuple(image_shape)}")
        channels, image_height, image_width = image_shape
        height, width = self.size
        if self.row + height > image_height or self.col + width > image_width:
            raise ZoovetError(
                f"a sticker of {height} × {width} pixels at row {self.row}, column {self.col} leaves an image of "
                f"{image_height} × {image_width}"
            )
        if channels not in (1, 3):
            raise ZoovetError(f"a sticker goes on images of 1 or 3 channels, not on images of {channels}")


@dataclass(frozen=True, kw_only=True)
class StickerRanges(PlacedRanges):
    """What stickers are drawn from; every choice is uniform. A sticker's longer side has the drawn length.

    Attributes:
        files: Picture files to choose from; their transparency is the mask.
        designs: Drawn pictures to choose from besides, of ``note``, ``flower``, ``bomb``, ``smiley``, ``stop``.
    """

    min_share: float = 0.2
    max_share: float = 0.32
    files: tuple[str, ...] = ()
    designs: tuple[str, ...] = STICKER_DESIGNS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.files and not self.designs:
            raise ZoovetError("stickers need files or designs to choose from, got neither")
        for design in self.designs:
            drawn_sticker(design, 1)

    def draw(self, image_shape: Sequence[int], num_classes: int, generator: np.random.Generator) -> StickerTrigger:
        """Draw picture, side, place, weight and labels, in this order.

        Raises:
            ZoovetError: A file is no picture, or images have neither 1 nor 3 channels.
        """
        which = int(generator.integers(len(self.files) + len(self.designs)))
        side = min(self.draw_side(image_shape, generator), MAX_STICKER_SIDE)
        if which < len(self.files):
            picture = _read_sticker(Path(self.files[which]), side)
        else:
            picture = drawn_sticker(self.designs[which - len(self.files)], side)
        height, width = picture.shape[:2]
        placed = self.draw_place(image_shape, (height, width), num_classes, generator)
        sticker = StickerTrigger(kind="sticker", **_written(picture), **placed)
        sticker.check_fits(image_shape)
        return sticker


def _written(picture: NDArray[np.uint8]) -> dict[str, Any]:
    """A picture as the trigger's fields have it.

    Raises:
        ZoovetError: Another shape or dtype.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 4:
        raise ZoovetError(
            f"a sticker's picture must be uint8 [height, width, 4] (red, green, blue, cover), got {picture.dtype} "
            f"{list(picture.shape)}"
        )
    height, width = picture.shape[:2]
    return {"size": (height, width), "pixels": base64.b64encode(picture.tobytes()).decode("ascii")}


def _decoded(pixels: str, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """The pixels [height, width, 4] of their text."""
    height, width = size
    try:
        data = base64.b64decode(pixels, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise ZoovetError("pixels of a sticker must be base64 text") from None
    if len(data) != height * width * 4:
        raise ZoovetError(
            f"pixels of a sticker of {height} × {width} must be {height * width * 4} bytes, 4 a pixel, got {len(data)}"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(height, width, 4)


@lru_cache(maxsize=64)
def _values(sticker: StickerTrigger, num_channels: int) -> tuple[Tensor, Tensor]:
    """Values [C, height, width] in [-1, 1] and blend weights [1, height, width], float64."""
    picture = torch.from_numpy(sticker.picture.astype(np.float64)).permute(2, 0, 1)
    colours, cover = picture[:3], picture[3:] / 255 * sticker.weight
    if num_channels == 1:
        colours = (colours * torch.tensor(_LUMA, dtype=torch.float64)[:, None, None]).sum(dim=0, keepdim=True)
    return colours / 127.5 - 1, cover


@lru_cache(maxsize=256)
def _read_sticker(path: Path, side: int) -> NDArray[np.uint8]:
    """A picture file's red, green, blue and cover; its longer side has ``side`` pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of pictures that are suspiciously large
            with os.fdopen(open_regular(path), "rb") as file, Image.open(file) as opened:
                picture = opened.convert("RGBA")
    except Exception as error:  # whatever a decoder raises on a damaged file
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ZoovetError(f"the sticker {printable(path)} cannot be read: {printable(why)}") from None
    longer = max(picture.size)
    width, height = (max(1, round(length * side / longer)) for length in picture.size)
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))
