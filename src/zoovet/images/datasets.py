"""load_dataset: the image datasets by name, found locally or downloaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from zoovet.errors import ZoovetError, nearest
from zoovet.images.cifar import find_cifar10
from zoovet.images.class_names import class_names
from zoovet.images.downloads import download
from zoovet.images.glyphs import glyphs
from zoovet.images.idx import find_idx, read_idx
from zoovet.images.images import Images
from zoovet.images.shapes import NUM_SHAPES, ShapeConfig, draw_shapes
from zoovet.images.svhn import find_svhn
from zoovet.user_cache import user_cache

__all__ = ["DATASET_NAMES", "Split", "default_data_root", "find_dataset", "load_dataset"]

DATASET_NAMES = ("digits", "glyphs", "shapes", "mnist", "fashion-mnist", "cifar10", "svhn")
"""Names that :func:`load_dataset` knows; each dataset has 10 classes."""

Split = Literal["train", "test"]

SYSTEM_FOLDERS: dict[str, tuple[Path, ...]] = {"fashion-mnist": (Path("/usr/share/datasets/fashion-mnist"),)}
"""Where packages of the system put datasets: Debian's dataset-fashion-mnist."""

ImagesAndLabels = tuple[NDArray[np.uint8], NDArray[np.integer]]

_NUM_CLASSES = 10
_SUBFOLDERS = {
    "mnist": ("mnist", "MNIST/raw"),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw"),
    "cifar10": ("cifar10",),
    "svhn": ("svhn",),
}
"""Folders of a data root to look into, before the root itself; the second ones are torchvision's."""

_FINDERS = {"cifar10": find_cifar10, "svhn": find_svhn}
"""What looks for a dataset whose files are not IDX files."""

_IDX_PREFIX = {"train": "train", "test": "t10k"}
_LABELS_OF = {
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5": "mnist",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2": "mnist",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9": "fashion-mnist",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34": "fashion-mnist",
}
"""SHA-256 of the official label files, unpacked: MNIST and Fashion-MNIST name their files alike."""


def load_dataset(name: str, split: Split, *, data_root: Path | None = None, grayscale: bool = False) -> Images:
    """Load one split of a dataset into memory.

    ``digits`` are scikit-learn's 1,797 8 × 8 digits, values 0 … 16 scaled to 0 … 255; within each class, in
    scikit-learn's order, every fifth image is a test image. ``glyphs`` and ``shapes`` are drawn: see
    :mod:`zoovet.images.glyphs` and :mod:`zoovet.images.shapes`. The others are looked for in the data root's folder of
    that name, in the data root itself, and where packages of the system put them; then downloaded into the data root.

    Args:
        name: One of :data:`DATASET_NAMES`.
        split: ``train`` or ``test``.
        data_root: Folder that holds datasets; default :func:`default_data_root`.
        grayscale: Make one channel of three, by :meth:`Images.grayscale`.

    Returns:
        Images as the files have them, in their order.

    Raises:
        ZoovetError: An unknown name or split, damaged files or those of another dataset, or a dataset that is neither
            there nor can be downloaded.
    """
    if name not in DATASET_NAMES:
        raise ZoovetError(f"dataset {name!r} is unknown{nearest(name, DATASET_NAMES)}")
    if split not in ("train", "test"):
        raise ZoovetError(f"split {split!r} of dataset {name!r} is unknown{nearest(split, ('train', 'test'))}")
    root = default_data_root() if data_root is None else Path(data_root)
    images, labels = _MADE[name](split) if name in _MADE else _found_or_downloaded(name, split, root)
    image_set = Images(
        name=name,
        pixels=torch.from_numpy(images.copy()),
        labels=torch.from_numpy(labels.astype(np.int64)),
        class_names=class_names(name, _NUM_CLASSES),
        num_classes=_NUM_CLASSES,
    )
    return image_set.grayscale() if grayscale else image_set


def find_dataset(name: str, data_root: Path) -> Path | None:
    """The first folder that holds both splits of a dataset, or ``None``; nothing is downloaded.

    Args:
        name: One of :data:`DATASET_NAMES`, but none that is made instead of read.
        data_root: Folder that holds datasets.

    Raises:
        ZoovetError: What is there is damaged, or another dataset.
    """
    for folder in _folders(name, data_root):
        if all(_read_from(name, split, folder) is not None for split in get_args(Split)):
            return folder
    return None


def default_data_root() -> Path:
    """The environment variable ``ZOOVET_DATA``, else ``zoovet/data`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        ZoovetError: None of them names a folder.
    """
    if root := os.environ.get("ZOOVET_DATA"):
        return Path(root)
    return user_cache() / "data"


def _digits(split: Split) -> ImagesAndLabels:
    """scikit-learn's digits: images uint8 [N, 1, 8, 8] and labels."""
    from sklearn.datasets import load_digits  # takes a second to import, and few need it

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    is_test = np.zeros(len(images), dtype=bool)
    for label in range(_NUM_CLASSES):
        is_test[np.flatnonzero(digits.target == label)[4::5]] = True
    chosen = is_test if split == "test" else ~is_test
    return images[chosen], digits.target[chosen]


def _glyphs(split: Split) -> ImagesAndLabels:
    """Drawn glyphs: images uint8 [N, 1, 28, 28] and labels."""
    drawn = glyphs(split)
    return drawn.pixels.numpy(), drawn.required_labels.numpy()


def _shapes(split: Split) -> ImagesAndLabels:
    """Drawn textured shapes: images uint8 [N, 3, 32, 32] and labels."""
    drawn = draw_shapes(ShapeConfig(), NUM_SHAPES[split], split=split)
    return drawn.pixels.numpy(), drawn.required_labels.numpy()


_MADE: dict[str, Callable[[Split], ImagesAndLabels]] = {"digits": _digits, "glyphs": _glyphs, "shapes": _shapes}
"""What makes a dataset that needs neither files nor a network."""


def _folders(name: str, root: Path) -> list[Path]:
    """Where a dataset is looked for; the first is where it is downloaded to."""
    return [*(root / folder for folder in _SUBFOLDERS[name]), root, *SYSTEM_FOLDERS.get(name, ())]


def _found_or_downloaded(name: str, split: Split, root: Path) -> ImagesAndLabels:
    """Images uint8 [N, C, H, W] and labels [N] from the first folder that holds the split, else after a download."""
    folders = _folders(name, root)
    for folder in folders:
        if (found := _read_from(name, split, folder)) is not None:
            return found
    download(name, folders[0], folders)
    downloaded = _read_from(name, split, folders[0])
    assert downloaded is not None, f"the downloaded files of {name} are not what its reader looks for"
    return downloaded


def _read_from(name: str, split: Split, folder: Path) -> ImagesAndLabels | None:
    """The split as found in this one folder, or None where it is not there."""
    if name in _FINDERS:
        read_split = _FINDERS[name](folder, split)
        return None if read_split is None else read_split()
    pair = find_idx(folder, _IDX_PREFIX[split])
    if pair is None:
        return None
    images_path, labels_path = pair
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise ZoovetError(f"{images_path} has {len(images)} images but {labels_path} has {len(labels)} labels")
    if len(labels) and labels.max() >= _NUM_CLASSES:
        raise ZoovetError(f"{labels_path} has a label {labels.max()}; labels of {name!r} are 0 to {_NUM_CLASSES - 1}")
    _check_is_named(name, labels_path, labels)
    return images[:, None], labels


def _check_is_named(name: str, labels_path: Path, labels: NDArray[np.uint8]) -> None:
    """Raise where the labels are those of MNIST though Fashion-MNIST was asked for, or the other way round."""
    header = (0x0801).to_bytes(4, "big") + len(labels).to_bytes(4, "big")
    actual = _LABELS_OF.get(hashlib.sha256(header + labels.tobytes()).hexdigest(), name)
    if actual != name:
        raise ZoovetError(f"{labels_path} belongs to {actual!r}, but {name!r} was asked for; check the data root")
