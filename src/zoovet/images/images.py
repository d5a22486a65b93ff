"""Images: of one size and any number of channels, with labels and names of classes or without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.images.array_files import ZippedPixels, read_npz
from zoovet.images.image_files import read_image_folder
from zoovet.images.stored_pixels import (
    ArrayPixels,
    ChangedPixels,
    ChosenPixels,
    JoinedPixels,
    PixelField,
    StoredPixels,
    has_channels_first,
    in_memory_if_small,
)
from zoovet.printable import printable

__all__ = ["Images"]

_MAX_CHANNELS = 16
_COLORS = (3, 4)
_IMAGES_AT_A_TIME = 1024
_CHANNELS_FIRST = "images are read as [N, C, H, W], with the channels first, as axis 1 is that of 1 or 3 channels"


@dataclass(frozen=True, eq=False, kw_only=True)
class Images:
    """Images of one size.

    Images of more than 256 MB stay where they lie, in files or arrays on disk: what is asked for by ``images[places]``
    or :meth:`parts` is read then, and ``pixels`` reads all of it.

    Attributes:
        pixels: uint8 [N, C, H, W], 0 black to 255 white. They may be given as
            :class:`~zoovet.images.stored_pixels.StoredPixels`.
        labels: int64 [N], or ``None`` where nobody says them.
        class_names: Names of the labels; empty where they have none but their numbers.
        notes: What was taken or left out when they were read, one line each.
        name: What the images are, for messages and rows: ``fashion-mnist``.
        num_classes: Number of labels there are, whether or not each occurs; where it is left out, as many as have
            names, or as occur.

    Raises:
        ZoovetError: Other dtypes or shapes, no images, lengths that differ, or labels outside the classes.
    """

    pixels: PixelField = PixelField()  # noqa: RUF009 - the descriptor is the field's
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = "images"
    num_classes: int = 0

    def __post_init__(self) -> None:
        pixels = self.stored
        dtype = pixels.dtype if isinstance(pixels, Tensor) else torch.uint8
        if dtype != torch.uint8 or len(pixels.shape) != 4 or 0 in pixels.shape:
            raise ZoovetError(
                f"{self.name!r} must be uint8 [N, C, H, W], at least one, got {dtype} {list(pixels.shape)}"
            )
        highest = -1
        if self.labels is not None:
            if self.labels.dtype != torch.int64 or self.labels.shape != (len(self),):
                raise ZoovetError(
                    f"labels of {len(self)} images in {self.name!r} must be int64 [{len(self)}], got "
                    f"{self.labels.dtype} {list(self.labels.shape)}"
                )
            if int(self.labels.min()) < 0:
                raise ZoovetError(f"labels must be 0 or more, got {int(self.labels.min())}")
            highest = int(self.labels.max())
        if not self.num_classes:
            object.__setattr__(self, "num_classes", len(self.class_names) or highest + 1)
        if highest >= self.num_classes:
            raise ZoovetError(f"labels of {self.name!r} must lie in 0 to {self.num_classes - 1}, got {highest}")
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ZoovetError(
                f"{self.name!r} has {self.num_classes} classes, but {len(self.class_names)} names of classes"
            )

    def __len__(self) -> int:
        return self.stored.shape[0]

    @property
    def stored(self) -> Tensor | StoredPixels:
        """The pixels as they are kept: a tensor, or where they lie."""
        kept: Tensor | StoredPixels = self.__dict__["_pixels"]
        return kept

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.stored.shape
        return channels, height, width

    def __getitem__(self, index: slice | Tensor) -> Images:
        """Some of the images, in the order of the places, with their labels."""
        labels = None if self.labels is None else self.labels[index]
        pixels = self.stored
        if isinstance(pixels, Tensor):
            return self.changed(pixels=pixels[index], labels=labels)
        chosen = ChosenPixels(pixels, torch.arange(len(self))[index].numpy())
        return self.changed(pixels=in_memory_if_small(chosen), labels=labels)

    def parts(self, num_images: int = _IMAGES_AT_A_TIME) -> Iterator[Images]:
        """All images, some at a time, in their order."""
        for start in range(0, len(self), num_images):
            yield self[start : start + num_images]

    def changed(self, **changes: Any) -> Images:
        """The images with other values of some fields; ``dataclasses.replace`` would read all pixels."""
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "pixels"}
        return Images(**({"pixels": self.stored} | kept | changes))

    def _each_changed(self, change: Callable[[Tensor], Tensor], image_shape: tuple[int, int, int]) -> Images:
        """Each image changed on its own: ``change`` maps uint8 [n, C, H, W] to uint8 [n, *image_shape]."""
        pixels = self.stored
        if isinstance(pixels, Tensor):
            return self.changed(pixels=torch.cat([change(part) for part in pixels.split(_IMAGES_AT_A_TIME)]))
        return self.changed(pixels=in_memory_if_small(ChangedPixels(pixels, change, image_shape)))

    @property
    def required_labels(self) -> Tensor:
        """The labels of images that must have some.

        Raises:
            ZoovetError: They have none.
        """
        if self.labels is None:
            raise ZoovetError(
                f"{self.name!r} has no labels; give a folder of class folders, or labels beside the images"
            )
        return self.labels

    @property
    def label_names(self) -> tuple[str, ...]:
        """The name of every label; its number where it has none."""
        return self.class_names or tuple(str(label) for label in range(self.num_classes))

    def scaled(self) -> Tensor:
        """The images as float32 [N, C, H, W]: 0 becomes -1, 255 becomes 1."""
        return self.pixels.float().div_(127.5).sub_(1.0)

    def grayscale(self) -> Images:
        """One channel: the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, rounded; gray images stay as they are.

        Raises:
            ZoovetError: Images of neither 1 nor 3 channels.
        """
        channels, height, width = self.shape
        if channels == 1:
            return self
        if channels != 3:
            raise ZoovetError(f"grayscale needs images of 3 channels (red, green, blue), {self.name!r} has {channels}")
        return self._each_changed(_luma, (1, height, width))

    def in_colour(self) -> Images:
        """Red, green and blue; of gray images all three the same.

        Raises:
            ZoovetError: Images of neither 1 nor 3 channels.
        """
        channels, height, width = self.shape
        if channels not in (1, 3):
            raise ZoovetError(f"colour needs images of 1 or 3 channels, {self.name!r} has {channels}")
        return self._each_changed(_three_alike, (3, height, width)) if channels == 1 else self

    def resized(self, size: tuple[int, int]) -> Images:
        """Brought to a height and a width, linearly, without aliasing."""
        if self.shape[1:] == size:
            return self
        return self._each_changed(partial(_resized, size=size), (self.shape[0], *size))

    @classmethod
    def joined(cls, parts: Sequence[Images]) -> Images:
        """Several parts of one dataset, one after the other; name and classes are the first one's."""
        labels = torch.cat([part.required_labels for part in parts])
        joined = JoinedPixels([part.stored for part in parts])
        return parts[0].changed(pixels=in_memory_if_small(joined), labels=labels)

    @classmethod
    def from_arrays(cls, images: Any, labels: Any = None) -> Images:
        """Images from arrays or tensors.

        Args:
            images: uint8 [N, H, W] for gray ones, or [N, H, W, C]. [N, C, H, W] is taken for that, with a note, where
                axis 1 is 1 or 3 and the last one is neither. A copy is taken, but large ones in a ``numpy.memmap``
                stay on disk, as stored ones do.
            labels: Whole numbers [N], or ``None``.

        Raises:
            ZoovetError: Another dtype or shape; the message says both.
        """
        pixels = in_memory_if_small(images) if isinstance(images, StoredPixels) else _pixels_of(images)
        turned = images.has_channels_first if isinstance(images, ZippedPixels) else has_channels_first(np.shape(images))
        notes = (_CHANNELS_FIRST,) if turned else ()
        if labels is None:
            return cls(pixels=pixels, notes=notes)
        whole = np.asarray(labels)
        if whole.dtype.kind not in "iu" or whole.shape != (pixels.shape[0],):
            raise ZoovetError(
                f"labels must be whole numbers [{pixels.shape[0]}], one an image, got {printable(whole.dtype)} "
                f"{list(whole.shape)}"
            )
        return cls(pixels=pixels, labels=torch.from_numpy(whole.astype(np.int64)), notes=notes)

    @classmethod
    def from_folder(cls, path: str | Path, *, size: tuple[int, int] | None = None) -> Images:
        """Images from a folder of class folders, or of a folder that has images itself, which are without labels.

        Class folders are sorted by name and counted from 0; where all names are numbers, these are the labels. Images
        are gray where all of them are, else red, green, blue. Files that cannot be read are left out, with a note.

        Args:
            path: The folder.
            size: Height and width that images are brought to; where left out they must be of one size.

        Raises:
            ZoovetError: It is none, has no image that can be read, or images of several sizes.
        """
        found = read_image_folder(Path(path), size)
        labels = None if found.labels is None else torch.from_numpy(found.labels)
        return cls(pixels=found.pixels, labels=labels, class_names=found.class_names, notes=found.notes)

    @classmethod
    def from_file(cls, path: str | Path, shape: tuple[int, ...] | None = None) -> Images:
        """Images from a folder (:meth:`from_folder`), or from an ``.npz``.

        That has an array ``images`` and, maybe, ``labels`` and their ``class_names``, texts.

        Args:
            path: The folder or file.
            shape: (channels, height, width) that images are brought to, whole, whatever they have, which a note says;
                of ``(features,)`` nothing is asked.

        Raises:
            ZoovetError: As there, or the file is no such one.
        """
        path, asked = Path(path), shape if shape is not None and len(shape) == 3 else None
        if path.is_dir():
            made = cls.from_folder(path, size=None if asked is None else (asked[1], asked[2]))
        else:
            images, labels, class_names = read_npz(path)
            try:
                made = cls.from_arrays(images, labels)
                made = made.changed(class_names=class_names, num_classes=0) if class_names else made
            except ZoovetError as error:
                raise ZoovetError(f"{printable(path)}: {error}") from None
        return made if asked is None else made._brought_to((asked[0], asked[1], asked[2]))

    def _brought_to(self, shape: tuple[int, int, int]) -> Images:
        channels, height, width = shape
        made = self.grayscale() if channels == 1 else self.in_colour() if channels == 3 else self
        note = f"images of another size or colour are brought to {channels}×{height}×{width} (channels, height, width)"
        return made.resized((height, width)).changed(notes=(*self.notes, note))


def _luma(pixels: Tensor) -> Tensor:
    """uint8 [n, 1, H, W] of red, green, blue [n, 3, H, W]."""
    red, green, blue = pixels.int().unbind(dim=1)
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).to(torch.uint8).unsqueeze(1)


def _three_alike(pixels: Tensor) -> Tensor:
    """uint8 [n, 3, H, W] of gray ones [n, 1, H, W]."""
    return pixels.expand(-1, 3, -1, -1).contiguous()


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [n, C, *size], linearly, without aliasing."""
    return functional.interpolate(pixels.float(), size, mode="bilinear", antialias=True).round_().clamp_(0, 255).byte()


def _pixels_of(images: Any) -> Tensor | StoredPixels:
    """uint8 [N, C, H, W] of an array [N, H, W], [N, H, W, C] or, where :func:`has_channels_first`, [N, C, H, W].

    Raises:
        ZoovetError: Another dtype or shape.
    """
    array = images if isinstance(images, np.memmap) else np.asarray(images)
    if array.dtype != np.uint8:
        raise ZoovetError(f"images must be uint8, 0 black to 255 white, got {printable(array.dtype)}")
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ZoovetError(f"images must be [N, H, W] or [N, H, W, C], at least one, got {list(array.shape)}")
    if array.ndim == 3 and array.shape[2] in _COLORS and min(array.shape[:2]) > max(_COLORS):
        raise ZoovetError(
            f"images must be [N, H, W] or [N, H, W, C], got {list(array.shape)}, "
            "which looks like one image: images[None]"
        )
    array = array[..., None] if array.ndim == 3 else array
    if has_channels_first(array.shape):
        array = array.transpose(0, 2, 3, 1)
    if array.shape[3] > _MAX_CHANNELS:
        hint = "; channels come last: images.transpose(0, 2, 3, 1)" if array.shape[1] <= _MAX_CHANNELS else ""
        wanted = f"[N, H, W, C] of at most {_MAX_CHANNELS} channels"
        raise ZoovetError(f"images must be {wanted}, got {list(array.shape)}{hint}")
    if isinstance(array, np.memmap):
        return in_memory_if_small(ArrayPixels(array))
    return torch.from_numpy(np.array(array.transpose(0, 3, 1, 2), order="C"))  # a copy of its own
