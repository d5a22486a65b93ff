"""CIFAR-10 in its layouts: Hugging Face Parquet, the official binary and python batches, their archives."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images.parquet import find_parquet_shards, read_image_parquet
from zoovet.images.pickled_batch import read_pickled_batch

__all__ = ["find_cifar10"]

ImagesAndLabels = tuple[NDArray[np.uint8], NDArray[np.integer]]

_IMAGE_SHAPE = (3, 32, 32)
_IMAGE_SIZE = 3 * 32 * 32
_RECORD_SIZE = 1 + _IMAGE_SIZE
_NUM_CLASSES = 10

_BATCHES = {
    "bin": {"train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)), "test": ("test_batch.bin",)},
    "py": {"train": tuple(f"data_batch_{k}" for k in range(1, 6)), "test": ("test_batch",)},
}
_ARCHIVES = {"bin": "cifar-10-binary.tar.gz", "py": "cifar-10-python.tar.gz"}


def find_cifar10(folder: Path, split: Literal["train", "test"]) -> Callable[[], ImagesAndLabels] | None:
    """Look for CIFAR-10 in a folder; first Parquet, then binary, then python batches, then the archives of the two.

    Args:
        folder: Folder to look into, and into its ``plain_text``, ``data``, ``cifar-10-batches-bin`` and
            ``cifar-10-batches-py``.
        split: ``train`` or ``test``.

    Returns:
        A function that reads images uint8 [N, 3, 32, 32] and labels [N] and raises ZoovetError, naming the file, where
        it is damaged; or None where the split is not in the folder.
    """
    for place in (folder, folder / "plain_text", folder / "data"):
        if shards := find_parquet_shards(place, split):
            return partial(_read_parquet, shards)
    for version, batches in _BATCHES.items():
        for place in (folder / f"cifar-10-batches-{version}", folder):
            paths = [place / name for name in batches[split]]
            if all(path.is_file() for path in paths):
                return partial(_read_batches, version, paths)
    for version, archive in _ARCHIVES.items():
        if (folder / archive).is_file():
            return partial(_read_archive, version, folder / archive, split)
    return None


def _read_parquet(shards: list[Path]) -> ImagesAndLabels:
    pixels, labels = read_image_parquet(shards)
    shape = tuple(pixels.shape[1:])
    if shape != _IMAGE_SHAPE:
        raise ZoovetError(f"{shards[0]} has images of {shape}; those of CIFAR-10 are {_IMAGE_SHAPE}")
    _check_labels(shards[0].parent, labels)
    return (pixels if isinstance(pixels, Tensor) else pixels.all()).numpy(), labels


def _read_batches(version: str, paths: list[Path]) -> ImagesAndLabels:
    parts = []
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ZoovetError(f"{path} cannot be read: {error}") from error
        parts.append(_parse_batch(version, data, str(path)))
    return _concatenated(parts)


def _read_archive(version: str, archive: Path, split: str) -> ImagesAndLabels:
    """Read the split's batches out of the packed archive; nothing is unpacked to disk."""
    parts = []
    try:
        with tarfile.open(archive, "r:*") as tar:
            for name in _BATCHES[version][split]:
                member = tar.extractfile(f"cifar-10-batches-{version}/{name}")
                if member is None:
                    raise ZoovetError(f"{name} in {archive} is no file")
                parts.append(_parse_batch(version, member.read(), f"{name} in {archive}"))
    except KeyError as error:
        raise ZoovetError(f"{archive} is not the official archive: {error.args[0]}") from error
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ZoovetError(f"{archive} cannot be read: {error}; delete it to have it downloaded again") from error
    return _concatenated(parts)


def _parse_batch(version: str, data: bytes, where: str) -> ImagesAndLabels:
    """Images uint8 [N, 3, 32, 32] and labels [N] of one batch; ``where`` names it in messages."""
    if version == "bin":
        if not data or len(data) % _RECORD_SIZE:
            raise ZoovetError(
                f"{where} is truncated or no CIFAR-10 batch: expected a multiple of {_RECORD_SIZE} bytes (a label and "
                f"3 × 32 × 32 pixels a record), got {len(data)}"
            )
        records = np.frombuffer(data, dtype=np.uint8).reshape(-1, _RECORD_SIZE)
        images, labels = records[:, 1:], records[:, 0].astype(np.int64)
    else:
        images, labels = read_pickled_batch(data, where)
        if images.shape[1] != _IMAGE_SIZE:
            raise ZoovetError(f"{where} has {images.shape[1]} values an image; those of CIFAR-10 have {_IMAGE_SIZE}")
    _check_labels(where, labels)
    return images.reshape(-1, *_IMAGE_SHAPE), labels


def _check_labels(where: Path | str, labels: NDArray[np.integer]) -> None:
    if len(labels) == 0:
        raise ZoovetError(f"{where} has no images")
    if labels.min() < 0 or labels.max() >= _NUM_CLASSES:
        raise ZoovetError(
            f"{where} has labels from {labels.min()} to {labels.max()}; those of CIFAR-10 are 0 to {_NUM_CLASSES - 1}"
        )


def _concatenated(parts: list[ImagesAndLabels]) -> ImagesAndLabels:
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)
