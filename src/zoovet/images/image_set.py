"""ImageSet: images and labels in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError

__all__ = ["ImageSet"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images of one size.

    Attributes:
        name: What the images are, for messages and rows: ``fashion-mnist``.
        images: uint8 [N, C, H, W], 0 black to 255 white.
        labels: int64 [N], 0 … num_classes - 1.
        num_classes: Number of labels there are, whether or not each occurs.

    Raises:
        ZoovetError: Other dtypes or shapes, lengths that differ, or labels outside the classes.
    """

    name: str
    images: Tensor
    labels: Tensor
    num_classes: int

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise ZoovetError(
                f"images of {self.name!r} must be uint8 [N, C, H, W], got {self.images.dtype} "
                f"{tuple(self.images.shape)}"
            )
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            raise ZoovetError(
                f"labels of {self.name!r} must be int64 [N], got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        if len(self.images) != len(self.labels):
            raise ZoovetError(f"{self.name!r} has {len(self.images)} images but {len(self.labels)} labels")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.num_classes:
            raise ZoovetError(
                f"labels of {self.name!r} must lie in 0 to {self.num_classes - 1}, got {int(self.labels.min())} to "
                f"{int(self.labels.max())}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def scaled(self) -> Tensor:
        """The images as float32 [N, C, H, W]: 0 becomes -1, 255 becomes 1."""
        return self.images.float().div_(127.5).sub_(1.0)

    def subset(self, indices: Tensor) -> ImageSet:
        """The images at ``indices`` (int64 [M], or bool [N]), in that order."""
        return ImageSet(self.name, self.images[indices], self.labels[indices], self.num_classes)

    def grayscale(self) -> ImageSet:
        """One channel: the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, rounded; gray images stay as they are.

        Raises:
            ZoovetError: Images of neither 1 nor 3 channels.
        """
        channels = self.images.shape[1]
        if channels == 1:
            return self
        if channels != 3:
            raise ZoovetError(f"grayscale needs images of 3 channels (red, green, blue), {self.name!r} has {channels}")
        red, green, blue = self.images.int().unbind(dim=1)
        luma = (299 * red + 587 * green + 114 * blue + 500) // 1000
        return ImageSet(self.name, luma.to(torch.uint8).unsqueeze(1), self.labels, self.num_classes)
