"""What an INR's picture should become: its source image, found in its dataset, and edited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.images import Images, load_dataset
from zoovet.images.class_names import class_names
from zoovet.images.datasets import Split
from zoovet.images.sources import ImageSource, load_source
from zoovet.networks import Graph
from zoovet.tasks.labelled import LabelledPopulation, is_missing, load_labelled
from zoovet.zoo import Zoo

__all__ = ["EditName", "edited", "load_originals", "load_source_images", "names_of_classes", "require_sources"]

EditName = Literal["dilation", "contrast"]

_DRAWN = ("glyphs", "shapes")
"""Datasets whose classes follow from what is drawn."""

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


def load_source_images(zoo: Zoo, data_root: Path | None = None) -> Images:
    """What a zoo's ``image_index`` counts through: the splits of its dataset that the recipe names, joined.

    Args:
        zoo: SIRENs of one image dataset, or some of them. Where they give one number, the images are made gray.
        data_root: Folder of image datasets; ``None``: the usual one.

    Raises:
        ZoovetError: The recipe names no splits, the rows no dataset or several, the dataset is not to be had, or its
            images are not of the size that the recipe says.
    """
    splits, names = zoo.recipe.get("image_splits"), sorted(set(zoo.column("dataset")), key=str)
    if not splits or any(split not in ("train", "test") for split in splits):
        raise ZoovetError(
            f"the recipe of the zoo {zoo.path} must say under image_splits which splits of the dataset (train, test) "
            f"image_index counts through, one after the other; got {splits!r}"
        )
    if len(names) != 1 or names[0] is None:
        found = " and ".join(map(repr, names)) or "no rows"
        raise ZoovetError(
            f"the zoo {zoo.path} must name the one dataset whose images its SIRENs show; its column 'dataset' has "
            f"{found}"
        )
    images = Images.joined(_parts(zoo, names[0], splits, data_root))
    size = zoo.recipe.get("image_size")
    if size is not None and tuple(size) != images.shape[1:]:
        raise ZoovetError(
            f"the images of {images.name!r} are {images.shape[1]} × {images.shape[2]}, but those that the "
            f"SIRENs of the zoo {zoo.path} show {size[0]} × {size[1]}; give the dataset that the zoo was made of"
        )
    return images.grayscale() if all(graph.num_outputs == 1 for graph in zoo.graphs.values()) else images


def names_of_classes(zoo: Zoo, dataset: str, num_classes: int) -> tuple[str, ...]:
    """Names of the labels of a zoo's images; the numbers themselves where they have none, or the images are gone.

    Args:
        zoo: Its recipe says where the images come from.
        dataset: What they are called.
        num_classes: How many labels there are.
    """
    source = _source_of(zoo)
    if source is None or (source.is_named and source.source not in _DRAWN):
        return class_names(dataset if source is None else source.source, num_classes)
    try:
        names = load_source(source)[0].label_names
    except ZoovetError:
        names = ()
    return names if len(names) == num_classes else tuple(map(str, range(num_classes)))


def _source_of(zoo: Zoo) -> ImageSource | None:
    """Where the recipe says that the images come from, where that is no dataset's name alone."""
    given = zoo.recipe.get("images")
    return None if given is None else read_config(ImageSource, given)


def _parts(zoo: Zoo, name: str, splits: Sequence[Split], data_root: Path | None) -> list[Images]:
    """The splits of a zoo's images."""
    source = _source_of(zoo)
    if source is None:
        return [load_dataset(name, split, data_root=data_root) for split in splits]
    by_split = dict(zip(("train", "test"), load_source(source, data_root), strict=True))
    return [by_split[split] for split in splits]


def load_originals(zoo: Zoo) -> tuple[LabelledPopulation, LabelledPopulation]:
    """A zoo's training and validation SIRENs of images as they are, labelled by ``image_index``; not those of copies.

    Raises:
        ZoovetError: As :func:`~zoovet.tasks.labelled.load_labelled`.
    """
    return load_labelled(zoo.select(zoo.column("copy") < 1), "image_index")


def require_sources(population: LabelledPopulation, images: Images, zoo: Zoo) -> None:
    """Check that every SIREN of a population has its source among images, and could show it.

    Args:
        population: SIRENs, labelled by the index of their image.
        images: The dataset.
        zoo: Where the population came from; the labels that it knows are compared with the images'.

    Raises:
        ZoovetError: A network does not map two numbers to as many as an image has channels, an index lies outside the
            dataset, or the labels of a network and of its image differ.
    """
    for graph in population.graphs:
        _require_grid(graph, images, zoo)
    outside = torch.nonzero(population.labels >= len(images)).flatten()
    if len(outside):
        place = int(outside[0])
        raise ZoovetError(
            f"network {population.network_ids[place]!r} of the zoo {zoo.path} shows image "
            f"{int(population.labels[place])}, but {images.name!r} has {len(images)} images (0 to {len(images) - 1}); "
            "give the dataset that the zoo was made of"
        )
    class_of = dict(zip(zoo.column("network_id"), zoo.column("label"), strict=True))
    classes = np.array([class_of[name] for name in population.network_ids], dtype=np.int64)
    theirs = images.required_labels[population.labels].numpy()
    differing = np.flatnonzero(~is_missing(classes) & (classes != theirs))
    if len(differing):
        place = int(differing[0])
        raise ZoovetError(
            f"network {population.network_ids[place]!r} of the zoo {zoo.path} has the label {classes[place]}, but "
            f"image {int(population.labels[place])} of {images.name!r} has {theirs[place]}; give the dataset that the "
            "zoo was made of"
        )


def _require_grid(graph: Graph, images: Images, zoo: Zoo) -> None:
    channels, height, width = images.shape
    if graph.input_shape != (2,) or graph.num_outputs != channels:
        raise ZoovetError(
            f"the images of {images.name!r} ({channels} × {height} × {width}) do not fit the networks of the zoo "
            f"{zoo.path}: {graph.describe()}; an INR of them maps 2 numbers (a place) to {channels}"
        )
