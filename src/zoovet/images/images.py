"""Images: of one size and any number of channels, with labels and names of classes or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.images.image_files import read_image_folder, read_npz
from zoovet.printable import printable

__all__ = ["Images"]

_MAX_CHANNELS = 16
_IMAGES_AT_A_TIME = 1024


@dataclass(frozen=True, eq=False, kw_only=True)
class Images:
    """Images of one size.

    Attributes:
        pixels: uint8 [N, C, H, W], 0 black to 255 white.
        labels: int64 [N], or ``None`` where nobody says them.
        class_names: Names of the labels; empty where they have none but their numbers.
        notes: What was taken or left out when they were read, one line each.
        name: What the images are, for messages and rows: ``fashion-mnist``.
        num_classes: Number of labels there are, whether or not each occurs; where it is left out, as many as have
            names, or as occur.

    Raises:
        ZoovetError: Other dtypes or shapes, no images, lengths that differ, or labels outside the classes.
    """

    pixels: Tensor
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = "images"
    num_classes: int = 0

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4 or 0 in self.pixels.shape:
            raise ZoovetError(
                f"{self.name!r} must be uint8 [N, C, H, W], at least one, got {self.pixels.dtype} "
                f"{list(self.pixels.shape)}"
            )
        highest = -1
        if self.labels is not None:
            if self.labels.dtype != torch.int64 or self.labels.shape != (len(self.pixels),):
                raise ZoovetError(
                    f"labels of {len(self.pixels)} images in {self.name!r} must be int64 [{len(self.pixels)}], got "
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
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def __getitem__(self, index: slice | Tensor) -> Images:
        """Some of the images, in the order of the places, with their labels."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, pixels=self.pixels[index], labels=labels)

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
        channels = self.pixels.shape[1]
        if channels == 1:
            return self
        if channels != 3:
            raise ZoovetError(f"grayscale needs images of 3 channels (red, green, blue), {self.name!r} has {channels}")
        red, green, blue = self.pixels.int().unbind(dim=1)
        luma = (299 * red + 587 * green + 114 * blue + 500) // 1000
        return replace(self, pixels=luma.to(torch.uint8).unsqueeze(1))

    def in_colour(self) -> Images:
        """Red, green and blue; of gray images all three the same.

        Raises:
            ZoovetError: Images of neither 1 nor 3 channels.
        """
        channels = self.pixels.shape[1]
        if channels not in (1, 3):
            raise ZoovetError(f"colour needs images of 1 or 3 channels, {self.name!r} has {channels}")
        return replace(self, pixels=self.pixels.expand(-1, 3, -1, -1).contiguous()) if channels == 1 else self

    def resized(self, size: tuple[int, int]) -> Images:
        """Brought to a height and a width, linearly, without aliasing."""
        if self.shape[1:] == size:
            return self
        parts = [
            functional.interpolate(part.float(), size, mode="bilinear", antialias=True).round_().clamp_(0, 255).byte()
            for part in self.pixels.split(_IMAGES_AT_A_TIME)
        ]
        return replace(self, pixels=torch.cat(parts))

    @classmethod
    def joined(cls, parts: Sequence[Images]) -> Images:
        """Several parts of one dataset, one after the other; name and classes are the first one's."""
        labels = torch.cat([part.required_labels for part in parts])
        return replace(parts[0], pixels=torch.cat([part.pixels for part in parts]), labels=labels)

    @classmethod
    def from_arrays(cls, images: Any, labels: Any = None) -> Images:
        """Images from arrays or tensors.

        Args:
            images: uint8 [N, H, W] for gray ones, or [N, H, W, C].
            labels: Whole numbers [N], or ``None``.

        Raises:
            ZoovetError: Another dtype or shape; the message says both.
        """
        array = np.asarray(images)
        if array.dtype != np.uint8:
            raise ZoovetError(f"images must be uint8, 0 black to 255 white, got {printable(array.dtype)}")
        if array.ndim not in (3, 4) or 0 in array.shape:
            raise ZoovetError(f"images must be [N, H, W] or [N, H, W, C], at least one, got {list(array.shape)}")
        array = array[..., None] if array.ndim == 3 else array
        if array.shape[3] > _MAX_CHANNELS:
            hint = "; channels come last" if array.shape[1] <= _MAX_CHANNELS else ""
            wanted = f"[N, H, W, C] of at most {_MAX_CHANNELS} channels"
            raise ZoovetError(f"images must be {wanted}, got {list(array.shape)}{hint}")
        pixels = torch.from_numpy(np.array(array.transpose(0, 3, 1, 2), order="C"))  # a copy of its own
        if labels is None:
            return cls(pixels=pixels)
        whole = np.asarray(labels)
        if whole.dtype.kind not in "iu" or whole.shape != (len(array),):
            raise ZoovetError(
                f"labels must be whole numbers [{len(array)}], one an image, got {printable(whole.dtype)} "
                f"{list(whole.shape)}"
            )
        return cls(pixels=pixels, labels=torch.from_numpy(whole.astype(np.int64)))

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
        made = cls.from_arrays(found.images, found.labels)
        return replace(made, class_names=found.class_names, num_classes=0, notes=found.notes)

    @classmethod
    def from_file(cls, path: str | Path) -> Images:
        """Images from a folder (:meth:`from_folder`), or from an ``.npz`` with ``images`` and, maybe, ``labels``.

        Raises:
            ZoovetError: As there, or the file is no such one.
        """
        path = Path(path)
        if path.is_dir():
            return cls.from_folder(path)
        images, labels = read_npz(path)
        try:
            return cls.from_arrays(images, labels)
        except ZoovetError as error:
            raise ZoovetError(f"{printable(path)}: {error}") from None
