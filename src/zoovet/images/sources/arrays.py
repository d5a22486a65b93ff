"""Images in arrays: ``.npz`` archives and pairs of ``.npy`` files."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.images.image_files import opened_npz
from zoovet.images.images import Images
from zoovet.printable import printable

__all__ = ["images_in_npy", "images_in_npz"]

Array = NDArray[Any]

_SPLITS = (
    (("train_images", "train_labels"), ("test_images", "test_labels")),
    (("x_train", "y_train"), ("x_test", "y_test")),
)
"""Names of images and labels, in training and test images."""

_WHOLE = ("images", "labels")


def images_in_npz(path: Path) -> list[Images]:
    """Training and test images of an archive, or all of them where it has no split.

    Arrays are ``images`` and ``labels``, or ``train_images``, ``train_labels``, ``test_images``, ``test_labels``, or
    ``x_train``, ``y_train``, ``x_test``, ``y_test``.

    Raises:
        ZoovetError: It is no such archive, or what it holds are no labelled images.
    """
    with opened_npz(path) as archive:
        return _parts(set(archive), lambda name: archive[name], printable(path))


def images_in_npy(folder: Path) -> list[Images] | None:
    """As :func:`images_in_npz`, of a folder with a ``.npy`` file for each array; ``None`` where there is none.

    Raises:
        ZoovetError: A file is missing, no array, or no labelled images.
    """
    names = {path.stem for path in folder.glob("*.npy")}
    if not names:
        return None

    def array(name: str) -> Array:
        path = folder / f"{name}.npy"
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise ZoovetError(f"{printable(path)} cannot be read as an array: {printable(error)}") from None

    return _parts(names, array, printable(folder))


def _parts(names: Collection[str], array: Callable[[str], Array], where: str) -> list[Images]:
    for split in _SPLITS:
        found = [name for pair in split for name in pair if name in names]
        if found:
            if len(found) < 4:
                missing = next(name for pair in split for name in pair if name not in names)
                raise ZoovetError(f"{where} has {found[0]!r}, but no {missing!r}")
            return [_images(array(images), array(labels), where) for images, labels in split]
    if set(_WHOLE) <= set(names):
        return [_images(array(_WHOLE[0]), array(_WHOLE[1]), where)]
    shown = ", ".join(printable(name, 30) for name in sorted(names)[:6]) or "none"
    raise ZoovetError(f"{where} has no arrays 'images' and 'labels', nor train_images, train_labels and so on: {shown}")


def _images(images: Array, labels: Array, where: str) -> Images:
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    try:
        return Images.from_arrays(images, labels)
    except ZoovetError as error:
        raise ZoovetError(f"{where}: {error}") from None
