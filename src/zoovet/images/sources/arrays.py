"""Images in arrays: ``.npz`` archives and pairs of ``.npy`` files."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.images.array_files import named_classes, opened_npz, read_npy
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
    ``x_train``, ``y_train``, ``x_test``, ``y_test``; besides, texts ``class_names`` name the labels.

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
    names = {path.stem for path in folder.glob("*.npy") if path.is_file()}
    if not names:
        return None

    return _parts(names, lambda name: read_npy(folder / f"{name}.npy"), printable(folder))


def _parts(names: Collection[str], array: Callable[[str], Any], where: str) -> list[Images]:
    classes = named_classes(array("class_names"), where) if "class_names" in names else ()
    for split in _SPLITS:
        found = [name for pair in split for name in pair if name in names]
        if found:
            if len(found) < 4:
                missing = next(name for pair in split for name in pair if name not in names)
                raise ZoovetError(f"{where} has {found[0]!r}, but no {missing!r}")
            return [_images(array(images), array(labels), classes, where) for images, labels in split]
    if set(_WHOLE) <= set(names):
        return [_images(array(_WHOLE[0]), array(_WHOLE[1]), classes, where)]
    shown = ", ".join(printable(name, 30) for name in sorted(names)[:6]) or "none"
    raise ZoovetError(f"{where} has no arrays 'images' and 'labels', nor train_images, train_labels and so on: {shown}")


def _images(images: Any, labels: Array, class_names: tuple[str, ...], where: str) -> Images:
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    try:
        return Images.from_arrays(images, labels).changed(class_names=class_names, num_classes=0)
    except ZoovetError as error:
        raise ZoovetError(f"{where}: {error}") from None
