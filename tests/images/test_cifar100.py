"""CIFAR-100's fine labels from every official layout; damage is named."""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images.cifar100 import find_cifar100
from zoovet.images.sources import ImageSource, load_source

NAMES = [f"class_{number}" for number in range(100)]
IMAGES = {
    split: np.random.default_rng(count).integers(256, size=(count, 3, 32, 32), dtype=np.uint8)
    for split, count in (("train", 7), ("test", 3))
}
FINE = {"train": [99, 0, 5, 5, 1, 2, 3], "test": [0, 99, 7]}


def write_python(folder: Path) -> Path:
    place = folder / "cifar-100-python"
    place.mkdir(parents=True)
    for split, images in IMAGES.items():
        batch = {b"data": images.reshape(-1, 3072), b"fine_labels": FINE[split], b"coarse_labels": [1] * len(images)}
        (place / split).write_bytes(pickle.dumps(batch, protocol=2))
    names = {b"fine_label_names": [name.encode() for name in NAMES], b"coarse_label_names": [b"all"]}
    (place / "meta").write_bytes(pickle.dumps(names, protocol=2))
    return place


def write_binary(folder: Path) -> Path:
    place = folder / "cifar-100-binary"
    place.mkdir(parents=True)
    for split, images in IMAGES.items():
        labels = np.stack([np.ones(len(images)), FINE[split]], axis=1).astype(np.uint8)
        records = np.concatenate([labels, images.reshape(-1, 3072)], axis=1)
        (place / f"{split}.bin").write_bytes(records.tobytes())
    (place / "fine_label_names.txt").write_text("\n".join(NAMES) + "\n")
    return place


def write_archive(write: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def packed(folder: Path) -> Path:
        place = write(folder / "unpacked")
        with tarfile.open(folder / f"{place.name}.tar.gz", "w:gz") as tar:
            tar.add(place, arcname=place.name)
        return folder

    return packed


@pytest.mark.parametrize(
    "write", [write_python, write_binary, write_archive(write_python), write_archive(write_binary)]
)
def test_images_fine_labels_and_names(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    place = write(tmp_path / "own")
    for folder in {place, tmp_path / "own"}:
        for split, images in zip(IMAGES, load_source(ImageSource(source=str(folder))), strict=True):
            assert torch.equal(images.pixels, torch.from_numpy(IMAGES[split]))
            assert images.required_labels.tolist() == FINE[split]
            assert images.class_names == tuple(NAMES)
            assert images.num_classes == 100


def test_nothing_there_is_nothing(tmp_path: Path) -> None:
    assert find_cifar100(tmp_path, "train") is None


def test_damage_is_named(tmp_path: Path) -> None:
    binary, python = write_binary(tmp_path), write_python(tmp_path / "other")
    (binary / "test.bin").write_bytes(bytes(3075))
    with pytest.raises(ZoovetError, match=r"test\.bin in .* a multiple of 3074 bytes .*, got 3075"):
        find_cifar100(binary, "test")
    (binary / "test.bin").write_bytes(bytes([0, 100]) + bytes(3072))
    with pytest.raises(ZoovetError, match=r"test\.bin in .* holds no images of 3 × 32 × 32 with labels of 0 to 99"):
        find_cifar100(binary, "test")
    (binary / "fine_label_names.txt").write_text("apple\n")
    with pytest.raises(ZoovetError, match=r"fine_label_names\.txt in .* names 1 classes, expected 100"):
        find_cifar100(binary, "train")
    (python / "test").write_bytes(pickle.dumps({b"data": 3, b"labels": [1]}))
    with pytest.raises(ZoovetError, match=r"test in .* is damaged or no CIFAR batch: it needs an array 'data'"):
        find_cifar100(python, "test")
    (python / "meta").write_bytes(pickle.dumps([1]))
    with pytest.raises(ZoovetError, match=r"meta in .* holds no names of CIFAR's classes: it holds no dictionary"):
        find_cifar100(python, "train")
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "cifar-100-python.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ZoovetError, match=r"cifar-100-python\.tar\.gz cannot be read: "):
        find_cifar100(archive, "train")
