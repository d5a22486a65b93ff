"""From an image source to training and test images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from zoovet.errors import ZoovetError
from zoovet.images.cifar import find_cifar10
from zoovet.images.cifar100 import find_cifar100
from zoovet.images.class_names import class_names
from zoovet.images.datasets import DATASET_NAMES, Split, load_dataset
from zoovet.images.glyphs import NUM_IMAGES, draw_glyphs
from zoovet.images.idx import find_idx, read_idx
from zoovet.images.images import Images
from zoovet.images.parquet import class_names_in, find_parquet_shards, read_image_parquet
from zoovet.images.shapes import NUM_SHAPES, draw_shapes
from zoovet.images.sources.arrays import images_in_npy, images_in_npz
from zoovet.images.sources.drawn_split import drawn_split
from zoovet.images.sources.source import ImageSource
from zoovet.printable import printable

__all__ = ["load_source"]

_FOLDERS = {"train": ("train", "training"), "test": ("test", "testing", "val", "validation", "valid")}


def load_source(source: ImageSource, data_root: Path | None = None) -> tuple[Images, Images]:
    """Training and test images of a source, of one size and with the same classes.

    What was left out as they were read is warned of.

    Args:
        source: Which.
        data_root: Where datasets with a name lie.

    Raises:
        ZoovetError: It is no path and no name, holds no images, images of several sizes where none is given, one class,
            or other classes in one split than in the other.
    """
    parts = [part.changed(name=source.name) for part in _parts(source, data_root)]
    for note in dict.fromkeys(note for part in parts for note in part.notes):
        warnings.warn(f"{source.name}: {note}", stacklevel=2)
    if len(parts) == 1:
        parts = list(drawn_split(parts[0], source.test_share, source.seed))
    parts = _of_the_same_classes(parts, source)
    parts = [_as_asked(part, source) for part in parts]
    train, test = parts
    if train.shape != test.shape:
        raise ZoovetError(
            f"training images of {source.name!r} are {list(train.shape)} (channels, height, width), test images "
            f"{list(test.shape)}; say size or color"
        )
    return train, test


def _parts(source: ImageSource, data_root: Path | None) -> list[Images]:
    """Training and test images, or all of them where the source has no split."""
    if source.source == "glyphs":
        return [draw_glyphs(source.glyphs, NUM_IMAGES[split], split=split) for split in get_args(Split)]
    if source.source == "shapes":
        return [draw_shapes(source.shapes, NUM_SHAPES[split], split=split) for split in get_args(Split)]
    if source.is_named:
        return [load_dataset(source.source, split, data_root=data_root) for split in get_args(Split)]
    path = Path(source.source).expanduser()
    if path.is_file():
        return images_in_npz(path)
    if not path.is_dir():
        known = ", ".join(DATASET_NAMES)
        raise ZoovetError(f"images: {printable(path)} is no folder, no file and no dataset's name ({known})")
    return _in_folder(path, source)


def _in_folder(folder: Path, source: ImageSource) -> list[Images]:
    train, test = (
        next((folder / name for name in names if (folder / name).is_dir()), None) for names in _FOLDERS.values()
    )
    if train is not None and test is not None:
        return [Images.from_folder(place, size=source.size) for place in (train, test)]
    found = _in_batches(folder, source.size) or images_in_npy(folder)
    if found is not None:
        return found
    if train is not None:
        raise ZoovetError(f"{printable(train)} holds training images, but there is no test/ or val/ beside it")
    return [Images.from_folder(folder, size=source.size)]


def _in_batches(folder: Path, size: tuple[int, int] | None) -> list[Images] | None:
    """Images in a layout that names its splits: IDX files, CIFAR's batches, Parquet shards."""
    parts: list[Images] = []
    for split, prefix in (("train", "train"), ("test", "t10k")):
        if (pair := find_idx(folder, prefix)) is not None:
            images, labels = (read_idx(path, count) for path, count in zip(pair, (3, 1), strict=True))
            parts.append(Images.from_arrays(images, labels.astype(np.int64)))
        elif shards := find_parquet_shards(folder, split) or find_parquet_shards(folder / "data", split):
            pixels, targets = read_image_parquet(shards, size)
            parts.append(
                Images(
                    pixels=pixels,
                    labels=torch.from_numpy(targets),
                    class_names=class_names_in(shards[0]),
                )
            )
        elif (hundred := find_cifar100(folder, "train" if split == "train" else "test")) is not None:
            parts.append(hundred)
        elif (read := find_cifar10(folder, "train" if split == "train" else "test")) is not None:
            batch, found_labels = read()
            parts.append(
                Images(
                    pixels=torch.from_numpy(batch.copy()),
                    labels=torch.from_numpy(found_labels.astype(np.int64)),
                    class_names=class_names("cifar10", 10),
                )
            )
    if len(parts) == 1:
        raise ZoovetError(f"{printable(folder)} has training or test images alone; both are needed")
    return parts or None


def _of_the_same_classes(parts: Sequence[Images], source: ImageSource) -> list[Images]:
    """The parts with one number of classes, which their names must agree on."""
    first, second = parts
    if first.class_names != second.class_names:
        alone = sorted(set(first.class_names) ^ set(second.class_names)) or list(first.class_names)
        raise ZoovetError(f"{source.name!r} has other classes in training than in test images: {printable(alone[0])}")
    num_classes = max(first.num_classes, second.num_classes)
    if num_classes < 2 or len(first.required_labels.unique()) < 2:
        raise ZoovetError(f"{source.name!r} has images of one class; networks need two classes or more")
    return [part.changed(num_classes=num_classes) for part in parts]


def _as_asked(images: Images, source: ImageSource) -> Images:
    if source.color == "gray":
        images = images.grayscale()
    elif source.color == "rgb":
        images = images.in_colour()
    return images if source.size is None else images.resized(source.size)
