"""Image files of a user: folders of classes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import stored_pixels
from zoovet.images.stored_pixels import Shape, StoredPixels
from zoovet.printable import printable

__all__ = ["FilePixels", "FolderOfImages", "read_image_folder"]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_GRAY_MODES = ("1", "L", "LA", "I", "I;16", "F")
_LISTS = (".csv", ".tsv", ".txt", ".json", ".parquet")
_NUM_NAMED = 3
_DARK = 65535 // 8


@dataclass(frozen=True, eq=False, kw_only=True)
class FolderOfImages:
    """What a folder holds.

    Attributes:
        pixels: uint8 [N, C, H, W], or the files that they lie in.
        labels: int64 [N]; ``None`` where the folder has no class folders.
        class_names: Names of the class folders, in the order of their labels; empty where they are the labels.
        notes: What was left out or taken, one line each.
    """

    pixels: Tensor | StoredPixels
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
    files = list(_files(folder, classes))
    read = _opened_files(files, size)
    if not read.readable:
        what = f"none of its {len(files)} images can be read" if files else "it has no images"
        split = next((folder / name for name, _ in classes if _class_folders(folder / name)), None)
        way_out = (
            f"{printable(split)} has class folders, give that"
            if split is not None and not files
            else (f"expected are class folders with {', '.join(_SUFFIXES[:3])}, …")
        )
        raise ZoovetError(f"{printable(folder)}: {what}; {way_out}")
    notes = []
    unreadable = [path for place, (path, _) in enumerate(files) if place not in read.readable]
    if unreadable:
        named = _first([path.relative_to(folder) for path in unreadable])
        notes.append(f"{len(unreadable)} of {len(files)} images cannot be read, left out: {named}")
    filled = {label for _, label in files}
    if empty := [name for name, label in classes if label not in filled]:
        notes.append(f"{len(empty)} of {len(classes)} class folders have no images: {_first(empty)}")
    lists = [] if classes else sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _LISTS)
    if read.brightest_of_16_bits is not None and read.brightest_of_16_bits < _DARK:
        notes.append(
            f"images of 16 bits are nearly black: the brightest value is {read.brightest_of_16_bits} of 65535; where "
            f"that stands for white, as in images of 12 bits, save them with 8 bits, brightened"
        )
    if lists:
        notes.append(f"lists beside images are not read, class folders say labels: {_first(lists)}")
    are_numbers = bool(classes) and _are_numbers([name for name, _ in classes])
    if are_numbers:
        notes.append("names of the class folders are numbers, taken as labels")
    return FolderOfImages(
        pixels=read.pixels,
        labels=np.array([files[place][1] for place in read.readable], dtype=np.int64) if classes else None,
        class_names=() if are_numbers else tuple(name for name, _ in classes),
        notes=tuple(notes),
    )


def _first(names: Sequence[str | Path]) -> str:
    """Some of the names, and how many there are besides."""
    more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return ", ".join(printable(name, 60) for name in names[:_NUM_NAMED]) + more


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


@dataclass(frozen=True, eq=False)
class FilePixels(StoredPixels):
    """Pixels in image files, decoded when they are asked for.

    Attributes:
        paths: A file an image.
        mode: ``L`` for gray ones, ``RGB`` for red, green, blue.
        size: Height and width.
    """

    paths: tuple[Path, ...]
    mode: str
    size: tuple[int, int]

    @property
    def shape(self) -> Shape:
        """See :class:`StoredPixels`."""
        return len(self.paths), 1 if self.mode == "L" else 3, *self.size

    def read(self, places: NDArray[np.int64]) -> Tensor:
        """See :class:`StoredPixels`."""
        return _stacked([self._decoded(self.paths[place]) for place in places.tolist()], self.mode)

    def _decoded(self, path: Path) -> Image.Image:
        """The image, resized as it was at the beginning, which leaves one of that size as it is."""
        try:
            image = _opened(path, self.size)
        except Exception as error:  # whatever a decoder raises on a damaged file
            raise ZoovetError(
                f"{printable(path)} cannot be decoded, though it begins like an image: {printable(error)}; mend it or "
                "take it away"
            ) from None
        else:
            return image


@dataclass(frozen=True, eq=False)
class _Opened:
    """Those of many files that can be read.

    Attributes:
        pixels: Theirs.
        readable: Which files they are.
        brightest_of_16_bits: The greatest value of those of 16 bits; ``None`` where there are none.
    """

    pixels: Tensor | StoredPixels
    readable: dict[int, None]
    brightest_of_16_bits: int | None


def _opened_files(files: Sequence[tuple[Path, int]], size: tuple[int, int] | None) -> _Opened:
    """Decode files where all of them are small, else read how they begin.

    Raises:
        ZoovetError: Images of several sizes where none is given.
    """
    opened: dict[int, _Begun] = {}
    first: tuple[Path, tuple[int, int]] | None = None
    for place, (path, _) in enumerate(files):
        try:
            begun = _begun(path, size, len(files), is_first=not opened)
        except Exception:  # whatever a decoder raises on a damaged file
            continue
        first = first or (path, begun.size)
        _require_one_size(first, (path, begun.size))
        opened[place] = begun
    mode = "L" if all(begun.mode in _GRAY_MODES for begun in opened.values()) else "RGB"
    decoded = [begun.image for begun in opened.values() if begun.image is not None]
    pixels: Tensor | StoredPixels = torch.empty(0)
    if decoded:
        pixels = _stacked(decoded, mode)
    elif first is not None:
        width, height = first[1]
        pixels = FilePixels(tuple(files[place][0] for place in opened), mode, (height, width))
    brightest = [begun.brightest for begun in opened.values() if begun.brightest is not None]
    return _Opened(pixels, dict.fromkeys(opened), max(brightest, default=None))


def _stacked(images: Sequence[Image.Image], mode: str) -> Tensor:
    """uint8 [n, C, H, W] of images of one size."""
    pixels = np.stack([np.asarray(_as_bytes(image).convert(mode)) for image in images])
    pixels = pixels[..., None] if mode == "L" else pixels
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


@contextmanager
def _strictly() -> Iterator[None]:
    """Warnings, of images that are suspiciously large, become errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@dataclass(frozen=True, eq=False)
class _Begun:
    """What is read of an image file.

    Attributes:
        size: Width and height that it has, or is brought to.
        mode: Pillow's.
        image: The image; ``None`` where it is decoded later.
        brightest: Its greatest value, where it has 16 bits and is decoded, or is the first.
    """

    size: tuple[int, int]
    mode: str
    image: Image.Image | None
    brightest: int | None


def _begun(path: Path, size: tuple[int, int] | None, num_files: int, *, is_first: bool) -> _Begun:
    """One of several files, decoded where as many images of its size are few enough to be."""
    with _strictly(), Image.open(path) as image:
        width, height = image.size if size is None else (size[1], size[0])
        are_later = 3 * width * height * num_files > stored_pixels.MOST_IN_MEMORY
        has_16_bits = image.mode.startswith("I")
        brightest = int(np.asarray(image).max()) if has_16_bits and (is_first or not are_later) else None
        if are_later:
            return _Begun((width, height), image.mode, None, brightest)
    decoded = _opened(path, size)
    return _Begun((width, height), decoded.mode, decoded, brightest)


def _opened(path: Path, size: tuple[int, int] | None) -> Image.Image:
    with _strictly(), Image.open(path) as image:
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


def _require_one_size(first: tuple[Path, tuple[int, int]], other: tuple[Path, tuple[int, int]]) -> None:
    (path, (width, height)), (other_path, (other_width, other_height)) = first, other
    if (width, height) != (other_width, other_height):
        raise ZoovetError(
            f"{printable(other_path)} is {other_height}×{other_width} (height, width), {printable(path)} "
            f"{height}×{width}: all must be of one size, that which the network reads; "
            "--input-shape C,H,W brings them to it, in a recipe images.size"
        )
