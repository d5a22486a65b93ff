"""CIFAR-100 with its 100 fine labels: the official python and binary batches, and their archives."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from zoovet.errors import ZoovetError
from zoovet.images.images import Images
from zoovet.images.pickled_batch import read_pickled_batch, read_pickled_names
from zoovet.printable import printable

__all__ = ["find_cifar100"]

_IMAGE_SHAPE = (3, 32, 32)
_RECORD_SIZE = 2 + 3 * 32 * 32
_NUM_CLASSES = 100

_NAMES_FILE = {"python": "meta", "binary": "fine_label_names.txt"}
_SUFFIX = {"python": "", "binary": ".bin"}
_MAX_BYTES = 1 << 29

Files = Callable[[str], bytes]
"""What is in a file of this name; raises ZoovetError where it cannot be read."""


def find_cifar100(folder: Path, split: Literal["train", "test"]) -> Images | None:
    """Read CIFAR-100's fine labels from a folder, from its ``cifar-100-python`` or ``cifar-100-binary``, or an archive.

    Args:
        folder: Folder to look into.
        split: ``train`` or ``test``.

    Returns:
        The images, with the names of their classes; ``None`` where the split is not there.

    Raises:
        ZoovetError: A file is damaged, or no batch of CIFAR-100; the message names it.
    """
    for version, suffix in _SUFFIX.items():
        for place in (folder / f"cifar-100-{version}", folder):
            if (place / f"{split}{suffix}").is_file() and (place / _NAMES_FILE[version]).is_file():
                return _images(version, split, partial(_in_folder, place), printable(place))
        archive = folder / f"cifar-100-{version}.tar.gz"
        if archive.is_file():
            return _images(version, split, partial(_in_archive, archive, version), printable(archive))
    return None


def _images(version: str, split: str, files: Files, where: str) -> Images:
    name = f"{split}{_SUFFIX[version]}"
    shown = f"{name} in {where}"
    data, described = files(name), files(_NAMES_FILE[version])
    if version == "python":
        pixels, labels = read_pickled_batch(data, shown, labels="fine_labels")
        names = read_pickled_names(described, f"{_NAMES_FILE[version]} in {where}", "fine_label_names")
    else:
        if not data or len(data) % _RECORD_SIZE:
            raise ZoovetError(
                f"{shown} is truncated or no CIFAR-100 batch: expected a multiple of {_RECORD_SIZE} bytes (two labels "
                f"and 3 × 32 × 32 pixels a record), got {len(data)}"
            )
        records = np.frombuffer(data, dtype=np.uint8).reshape(-1, _RECORD_SIZE)
        pixels, labels = records[:, 2:], records[:, 1].astype(np.int64)
        names = tuple(described.decode("utf-8", "replace").split())
    if len(pixels) == 0 or pixels.shape[1] != 3 * 32 * 32 or labels.min() < 0 or labels.max() >= _NUM_CLASSES:
        raise ZoovetError(f"{shown} holds no images of 3 × 32 × 32 with labels of 0 to {_NUM_CLASSES - 1}")
    if len(names) != _NUM_CLASSES:
        raise ZoovetError(f"{_NAMES_FILE[version]} in {where} names {len(names)} classes, expected {_NUM_CLASSES}")
    return Images(
        pixels=torch.from_numpy(pixels.reshape(-1, *_IMAGE_SHAPE).copy()),
        labels=torch.from_numpy(labels),
        class_names=tuple(printable(one, 60) for one in names),
        name="cifar100",
    )


def _in_folder(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ZoovetError(f"{printable(folder / name)} cannot be read: {printable(error.strerror)}") from error


def _in_archive(archive: Path, version: str, name: str) -> bytes:
    """A file of the packed archive; nothing is unpacked to disk."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            member = tar.getmember(f"cifar-100-{version}/{name}")
            file = tar.extractfile(member) if member.size <= _MAX_BYTES else None
            if file is None:
                raise ZoovetError(f"{name} in {printable(archive)} is no file of such a size")
            return file.read()
    except KeyError as error:
        raise ZoovetError(f"{printable(archive)} is not the official archive: {error.args[0]}") from error
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ZoovetError(f"{printable(archive)} cannot be read: {printable(error)}") from error
