"""What an INR's picture should become: its source image, found in its dataset, and edited."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import ImageSet, load_dataset
from zoovet.images.datasets import Split
from zoovet.networks import NetworkSpec
from zoovet.tasks.labelled import LabelledPopulation, is_missing
from zoovet.zoo import Zoo

__all__ = ["EditName", "edited", "load_source_images", "require_sources"]

EditName = Literal["dilation", "contrast"]

_SQUARE = 3
"""Pixels along a side of the square that dilates."""

_CLIP_LIMIT, _TILES = 2.0, (8, 8)
"""CLAHE's limit on a histogram's slope, and its tiles along each axis."""


def edited(images: Tensor, edit: EditName) -> Tensor:
    """Images after an edit.

    ``dilation``: every pixel becomes the brightest of the 3 × 3 square around it, each channel on its own.
    ``contrast``: contrast-limited adaptive histogram equalization (Zuiderveld 1994), of the lightness L* where images
    have three channels.

    Args:
        images: uint8 [N, C, H, W], of 1 or 3 channels.
        edit: Which.

    Returns:
        uint8 [N, C, H, W].
    """
    if edit == "dilation":
        from scipy.ndimage import grey_dilation  # as OpenCV, needed while training alone

        size = (1, 1, _SQUARE, _SQUARE)
        return torch.from_numpy(grey_dilation(images.numpy(), size=size, mode="nearest"))
    return torch.stack([_equalized(image) for image in images])


def _equalized(image: Tensor) -> Tensor:
    """CLAHE of one image, uint8 [C, H, W]."""
    import cv2

    equalizer = cv2.createCLAHE(clipLimit=_CLIP_LIMIT, tileGridSize=_TILES)
    if len(image) == 1:
        return torch.from_numpy(equalizer.apply(image[0].numpy()))[None]
    lab = cv2.cvtColor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2LAB)
    lab[..., 0] = equalizer.apply(np.ascontiguousarray(lab[..., 0]))
    return torch.from_numpy(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)).permute(2, 0, 1).contiguous()


def load_source_images(zoo: Zoo, data_root: Path | None = None, split: Split = "train") -> ImageSet:
    """The images that a zoo's SIRENs show: one split of the dataset that its rows name.

    Args:
        zoo: The zoo, or some of its rows.
        data_root: Folder of image datasets; ``None``: the usual one.
        split: The dataset's own split that ``image_index`` counts in; that of training and validation networks is
            ``train``.

    Raises:
        ZoovetError: The rows name no dataset, or several, or the dataset is not to be had.
    """
    names = sorted(set(zoo.column("dataset")), key=str)
    if len(names) != 1 or names[0] is None:
        found = " and ".join(map(repr, names)) or "no rows"
        raise ZoovetError(
            f"editing needs to know the one dataset whose images the SIRENs of the zoo {zoo.path} show; its column "
            f"'dataset' has {found}; build or import a zoo of one dataset"
        )
    images = load_dataset(names[0], split, data_root=data_root)
    return images.grayscale() if all(spec.num_outputs == 1 for spec in zoo.specs.values()) else images


def require_sources(population: LabelledPopulation, classes: NDArray[np.int64], images: ImageSet, zoo: Zoo) -> None:
    """Check that every SIREN of a population has its source among images, and could show it.

    Args:
        population: SIRENs, labelled by the index of their image.
        classes: int64 [n], the label of what each shows; missing ones are not compared.
        images: The dataset.
        zoo: Where the population came from, for the messages.

    Raises:
        ZoovetError: A network does not map two numbers to as many as an image has channels, an index lies outside the
            dataset, or the labels of a network and of its image differ.
    """
    for spec in population.specs:
        _require_grid(spec, images, zoo)
    outside = torch.nonzero(population.labels >= len(images)).flatten()
    if len(outside):
        place = int(outside[0])
        raise ZoovetError(
            f"network {population.network_ids[place]!r} of the zoo {zoo.path} shows image "
            f"{int(population.labels[place])}, but {images.name!r} has {len(images)} images (0 to {len(images) - 1}); "
            "give the dataset that the zoo was made of"
        )
    theirs = images.labels[population.labels].numpy()
    differing = np.flatnonzero(~is_missing(classes) & (classes != theirs))
    if len(differing):
        place = int(differing[0])
        raise ZoovetError(
            f"network {population.network_ids[place]!r} of the zoo {zoo.path} has the label {classes[place]}, but "
            f"image {int(population.labels[place])} of {images.name!r} has {theirs[place]}; give the dataset that the "
            "zoo was made of"
        )


def _require_grid(spec: NetworkSpec, images: ImageSet, zoo: Zoo) -> None:
    channels, height, width = images.image_shape
    if spec.input_shape != (2,) or spec.num_outputs != channels:
        raise ZoovetError(
            f"the images of {images.name!r} ({channels} × {height} × {width}) do not fit the networks of the zoo "
            f"{zoo.path}: {spec.describe()}; an INR of them maps 2 numbers (a place) to {channels}"
        )
