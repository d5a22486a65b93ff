"""An image set of a park: where its images come from, and the floors that its networks must reach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.images.sources import ImageSource, load_source
from zoovet.networks import SCALING_PRESETS, InputScaling

__all__ = ["SCALINGS", "ImageBlock", "ImageSet", "load_image_set"]

SCALINGS = ("symmetric", "unit", "standardized")
"""What networks read: pixels in [-1, 1], in [0, 1], or of mean 0 and deviation 1 in each channel."""

_STATISTICS_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class ImageBlock:
    """Images that networks of a park are trained and measured on.

    Attributes:
        name: What rows call them; differs from block to block.
        share: How many bases have them, compared with other blocks' shares.
        images: Where they come from, and what is made of them.
        mirrored: Whether a mirrored image is one of the same class; without, augmentations do not flip.
        images_factor: What a training's number of images is multiplied by: more for images that are hard to learn.
        min_clean_accuracy: What networks of a base must reach on test images, else it is drawn again.
    """

    name: str
    images: ImageSource
    share: float = 1.0
    mirrored: bool = False
    images_factor: float = 1.0
    min_clean_accuracy: float = 0.5

    def __post_init__(self) -> None:
        if not self.name:
            raise ZoovetError("name of images must not be empty")
        if not self.share > 0:
            raise ZoovetError(f"share must be above 0, got {self.share}; leave images out that are not wanted")
        if not 0 < self.images_factor <= 1000:
            raise ZoovetError(f"images_factor must be above 0 and at most 1000, got {self.images_factor}")
        if not 0 <= self.min_clean_accuracy < 1:
            raise ZoovetError(f"min_clean_accuracy must be at least 0 and below 1, got {self.min_clean_accuracy}")


@dataclass(frozen=True)
class ImageSet:
    """The images of a block.

    Attributes:
        train, test: With labels.
        scalings: Input scalings by name.
    """

    train: Images
    test: Images
    scalings: dict[str, InputScaling]


def load_image_set(block: ImageBlock, test_images: int, data_root: Path | None) -> ImageSet:
    """Load a block's images; of the test images a drawn part where there are more than ``test_images``.

    Raises:
        ZoovetError: They are not there, or no labelled images of two classes and one size.
    """
    train, test = (part.changed(name=block.name) for part in load_source(block.images, data_root))
    if 0 < test_images < len(test):
        places = np.sort(np.random.default_rng(0).permutation(len(test))[:test_images])
        test = test[torch.from_numpy(places)]
    return ImageSet(train, test, _scalings(train))


def _scalings(train: Images) -> dict[str, InputScaling]:
    counts = np.zeros((train.shape[0], 256))
    for part in train.parts():
        for channel, levels_there in enumerate(part.pixels.numpy().swapaxes(0, 1)):
            counts[channel] += np.bincount(levels_there.ravel(), minlength=256)
    shares, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
    means = shares @ levels
    deviations = np.sqrt(np.maximum(shares @ levels**2 - means**2, 0.0))
    standardized = InputScaling(
        mean=tuple(round(float(mean), _STATISTICS_DIGITS) for mean in means),
        deviation=tuple(max(round(float(deviation), _STATISTICS_DIGITS), 0.01) for deviation in deviations),
    )
    return {"symmetric": SCALING_PRESETS["symmetric"], "unit": SCALING_PRESETS["unit"], "standardized": standardized}
