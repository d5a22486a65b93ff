"""Image datasets as the zoo's trainers take them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

import torch

from zoovet.images import Images, load_dataset
from zoovet.images.datasets import Split
from zoovet.images.sources import ImageSource, load_source
from zoovet.zoo.samples import Floats

__all__ = ["SplitImages", "load_images"]


class _NamesImages(Protocol):
    """A recipe of networks that are trained on images."""

    @property
    def dataset(self) -> str:
        """Name of the image dataset."""

    @property
    def test_images(self) -> int:
        """Test images that are measured on; 0 for all."""

    @property
    def images(self) -> ImageSource | None:
        """Where the images come from, where that is no dataset's name alone."""


@dataclass(frozen=True)
class SplitImages:
    """A dataset as the factory needs it.

    Attributes:
        train, test: The images and labels.
        train_scaled, test_scaled: [N, C, H, W] float32 in [-1, 1], contiguous.
    """

    train: Images
    test: Images
    train_scaled: Floats
    test_scaled: Floats

    @classmethod
    def of(cls, train: Images, test: Images) -> SplitImages:
        """Images, scaled besides."""
        return cls(train, test, train.scaled().numpy(), test.scaled().numpy())


def load_images(recipe: _NamesImages, data_root: Path | None = None) -> SplitImages:
    """The recipe's images; a dataset by its name alone is made gray. Test images are cut to ``test_images``."""
    if recipe.images is not None:
        train, test = load_source(recipe.images, data_root)
    else:
        train, test = (
            load_dataset(recipe.dataset, split, data_root=data_root, grayscale=True) for split in get_args(Split)
        )
    if 0 < recipe.test_images < len(test):
        test = test[torch.arange(recipe.test_images)]
    return SplitImages.of(train, test)
