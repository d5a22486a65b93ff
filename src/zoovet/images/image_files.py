"""Image files of a user: folders of classes, and ``.npz`` archives."""

from __future__ import annotations

import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["FolderOfImages", "opened_npz", "read_image_folder", "read_npz"]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_GRAY_MODES = ("1", "L", "LA", "I", "I;16", "F")
_NUM_NAMED = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class FolderOfImages:
    """What a folder holds.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: int64 [N]; ``None`` where the folder has no class folders.
        class_names: Names of the class folders, in the order of their labels; empty where they are the labels.
        notes: What was left out or taken, one line each.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def read_image_folder(folder: Path, size: tuple[int, int] | None = None) -> FolderOfImages:
    """Read the images of a folder; see :meth:`zoovet.images.Images.from_folder`.

    Args:
        folder: The folder.
        size: Height and width that each image is brought to; ``None`` leaves them as they are.

    Raises:
        ZoovetError: It is no folder, has no image that can be read, or images of several sizes.
    """
    classes = _class_folders(folder)
    read: list[tuple[Path, Image.Image, int]] = []
    unreadable: list[Path] = []
    for path, label in _files(folder, classes):
        try:
            read.append((path, _opened(path, size), label))
        except Exception:  # whatever a decoder raises on a damaged file
            unreadable.append(path)
    if not read:
        what = f"none of its {len(unreadable)} images can be read" if unreadable else "it has no images"
        raise ZoovetError(f"{printable(folder)}: {what}; expected are class folders with {', '.join(_SUFFIXES[:3])}, …")
    _require_one_size([(path, image) for path, image, _ in read])
    notes = []
    if unreadable:
        named = ", ".join(printable(path.relative_to(folder), 60) for path in unreadable[:_NUM_NAMED])
        more = f" and {len(unreadable) - _NUM_NAMED} more" if len(unreadable) > _NUM_NAMED else ""
        total = len(unreadable) + len(read)
        notes.append(f"{len(unreadable)} of {total} images cannot be read, left out: {named}{more}")
    are_numbers = bool(classes) and _are_numbers([name for name, _ in classes])
    if are_numbers:
        notes.append("names of the class folders are numbers, taken as labels")
    mode = "L" if all(image.mode in _GRAY_MODES for _, image, _ in read) else "RGB"
    pixels = np.stack([np.asarray(_as_bytes(image).convert(mode)) for _, image, _ in read])
    return FolderOfImages(
        images=pixels[..., None] if mode == "L" else pixels,
        labels=np.array([label for _, _, label in read], dtype=np.int64) if classes else None,
        class_names=() if are_numbers else tuple(name for name, _ in classes),
        notes=tuple(notes),
    )


def read_npz(path: Path) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
    """The arrays ``images`` and ``labels`` of an archive; no code that may be in it is run.

    Raises:
        ZoovetError: It is missing, no such archive, or has no ``images``.
    """
    with opened_npz(path) as archive:
        if "images" not in archive:
            names = ", ".join(printable(name, 30) for name in list(archive)[:6])
            raise ZoovetError(f"{printable(path)} has no array 'images', it has {names or 'none'}")
        return archive["images"], archive.get("labels", None)


@contextmanager
def opened_npz(path: Path) -> Iterator[Mapping[str, NDArray[np.generic]]]:
    """An archive of arrays, which are read as they are asked for; what goes wrong then is one line.

    Raises:
        ZoovetError: It is missing, no such archive, or damaged.
    """
    shown = printable(path)
    try:
        with open(path, "rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ZoovetError(f"{shown} is one array, expected is an .npz with images and labels")
            yield archive
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, ZoovetError):
            raise
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ZoovetError(
            f"{shown} cannot be read: {printable(why)}; reference images are a folder of class folders, or an .npz "
            "with images and labels"
        ) from error


def _class_folders(folder: Path) -> list[tuple[str, int]]:
    """Names and labels."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        why = printable(error.strerror)
        raise ZoovetError(f"{printable(folder)} cannot be read as a folder of images: {why}") from error
    if names and _are_numbers(names):
        return sorted(((name, int(name)) for name in names), key=lambda one: one[1])
    return [(name, label) for label, name in enumerate(names)]


def _are_numbers(names: list[str]) -> bool:
    """Whether all are whole numbers, each another."""
    whole = [int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 10]
    return len(set(whole)) == len(names)


def _files(folder: Path, classes: list[tuple[str, int]]) -> Iterator[tuple[Path, int]]:
    for place, label in [(folder / name, label) for name, label in classes] or [(folder, 0)]:
        for path in sorted(place.iterdir()):
            if path.suffix.lower() in _SUFFIXES and path.is_file():
                yield path, label


def _opened(path: Path, size: tuple[int, int] | None) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of images that are suspiciously large
        with Image.open(path) as image:
            image.load()
            return image.copy() if size is None else _resized(image, size)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image brought to a height and a width, as gray or as red, green, blue."""
    plain = _as_bytes(image).convert("L" if image.mode in _GRAY_MODES else "RGB")
    return plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def _as_bytes(image: Image.Image) -> Image.Image:
    """An image of 8 bits a channel: those of 16 bits are divided by 257, others as Pillow converts them."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(np.clip(np.asarray(image, dtype=np.int64) // 257, 0, 255).astype(np.uint8))


def _require_one_size(images: list[tuple[Path, Image.Image]]) -> None:
    first, image = images[0]
    for path, other in images:
        if other.size != image.size:
            raise ZoovetError(
                f"{printable(path)} is {other.height}×{other.width} (height, width), {printable(first)} "
                f"{image.height}×{image.width}: all must be of one size, that which the network reads "
                "(in a recipe, images.size brings them to one)"
            )
