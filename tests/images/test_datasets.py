from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from zoovet.errors import ZoovetError
from zoovet.images import datasets, default_data_root, load_dataset

WriteIdx = Callable[[Path, NDArray[np.uint8]], Path]
IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([9, 0, 3, 3, 1], dtype=np.uint8)


def _write_split(folder: Path, write_idx: WriteIdx, prefix: str = "train") -> tuple[Path, Path]:
    return (
        write_idx(folder / f"{prefix}-images-idx3-ubyte", IMAGES),
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", LABELS),
    )


def test_digits_splits_are_disjoint_complete_and_stratified() -> None:
    train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
    assert (len(train), len(test)) == (1442, 355)
    assert train.shape == (1, 8, 8)
    assert (test.labels.bincount() * 4 - train.labels.bincount()).abs().max() <= 4
    everything = torch.cat([train.pixels, test.pixels]).flatten(1).float().sum(0)
    original = np.rint(load_digits().images * 255 / 16).reshape(-1, 64).sum(axis=0)
    assert np.array_equal(everything.numpy(), original)
    assert (int(train.pixels.min()), int(train.pixels.max())) == (0, 255)


def test_fifth_digit_of_a_class_is_its_first_test_image() -> None:
    digits = load_digits()
    fifth_zero = np.flatnonzero(digits.target == 0)[4]
    test = load_dataset("digits", "test")
    first_zero = test.pixels[test.labels == 0][0, 0]
    assert np.array_equal(first_zero.numpy(), np.rint(digits.images[fifth_zero] * 255 / 16))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_idx_files_are_found_under_the_datasets_name(name, split, prefix, data_root: Path, write_idx: WriteIdx) -> None:
    _write_split(data_root / name, write_idx, prefix)
    found = load_dataset(name, split)
    assert found.pixels.dtype == torch.uint8
    assert np.array_equal(found.pixels.numpy(), IMAGES[:, None])
    assert found.labels.tolist() == LABELS.tolist()
    assert found.num_classes == 10


@pytest.mark.parametrize("folder", ["", "MNIST/raw"])
def test_packed_idx_files_are_found_in_the_root_itself_and_where_torchvision_puts_them(
    folder: str, tmp_path: Path, write_idx: WriteIdx
) -> None:
    for path in _write_split(tmp_path / "own" / folder, write_idx):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert len(load_dataset("mnist", "train", data_root=tmp_path / "own")) == 5


def test_folder_of_the_systems_package_is_looked_into(tmp_path: Path, write_idx: WriteIdx, monkeypatch) -> None:
    _write_split(tmp_path / "system", write_idx)
    monkeypatch.setattr(datasets, "SYSTEM_FOLDERS", {"mnist": (tmp_path / "system",)})
    assert len(load_dataset("mnist", "train")) == 5


def test_data_root_is_the_variable_else_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZOOVET_DATA", str(tmp_path / "mine"))
    assert default_data_root() == tmp_path / "mine"
    monkeypatch.delenv("ZOOVET_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_data_root() == tmp_path / "cache/zoovet/data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_data_root() == Path.home() / ".cache/zoovet/data"


def test_unknown_names_are_told_the_nearest() -> None:
    with pytest.raises(ZoovetError, match="dataset 'fashion_mnist' is unknown; did you mean 'fashion-mnist'"):
        load_dataset("fashion_mnist", "train")
    with pytest.raises(ZoovetError, match="split 'validation' of dataset 'digits' is unknown; known: 'train', 'test'"):
        load_dataset("digits", "validation")


def test_truncated_idx_names_file_and_bytes(data_root: Path, write_idx: WriteIdx) -> None:
    images, _ = _write_split(data_root / "mnist", write_idx)
    images.write_bytes(images.read_bytes()[:-7])
    with pytest.raises(
        ZoovetError, match=r"train-images-idx3-ubyte is truncated: .* 5 × 4 × 3, so 60 bytes .*, got 53"
    ):
        load_dataset("mnist", "train")
    images.write_bytes(images.read_bytes()[:9])
    with pytest.raises(
        ZoovetError, match="train-images-idx3-ubyte is truncated: expected an IDX head of 16 bytes, got 9"
    ):
        load_dataset("mnist", "train")


def test_idx_with_more_bytes_than_announced_is_refused(data_root: Path, write_idx: WriteIdx) -> None:
    images, _ = _write_split(data_root / "mnist", write_idx)
    images.write_bytes(images.read_bytes() + b"\0")
    with pytest.raises(ZoovetError, match=r"is too long: .* 60 bytes after it, got 61"):
        load_dataset("mnist", "train")


def test_truncated_gzip_names_the_file(data_root: Path, write_idx: WriteIdx) -> None:
    _, labels = _write_split(data_root / "mnist", write_idx)
    labels.write_bytes(gzip.compress(labels.read_bytes())[:-12])
    with pytest.raises(ZoovetError, match="train-labels-idx1-ubyte cannot be read: Compressed file ended"):
        load_dataset("mnist", "train")


def test_wrong_magic_number_says_both(data_root: Path, write_idx: WriteIdx) -> None:
    images, labels = _write_split(data_root / "mnist", write_idx)
    images.write_bytes(labels.read_bytes() + bytes(16))
    with pytest.raises(ZoovetError, match="expected the magic number 0x00000803, got 0x00000801"):
        load_dataset("mnist", "train")


def test_images_and_labels_of_different_length_are_refused(data_root: Path, write_idx: WriteIdx) -> None:
    _write_split(data_root / "mnist", write_idx)
    write_idx(data_root / "mnist/train-labels-idx1-ubyte", LABELS[:3])
    with pytest.raises(ZoovetError, match=r"images-idx3-ubyte has 5 images but .*labels-idx1-ubyte has 3 labels"):
        load_dataset("mnist", "train")


def test_label_that_is_no_class_is_refused(data_root: Path, write_idx: WriteIdx) -> None:
    _write_split(data_root / "mnist", write_idx)
    write_idx(data_root / "mnist/train-labels-idx1-ubyte", LABELS + 3)
    with pytest.raises(ZoovetError, match="labels-idx1-ubyte has a label 12; labels of 'mnist' are 0 to 9"):
        load_dataset("mnist", "train")


def test_files_of_the_other_mnist_are_refused(data_root: Path, write_idx: WriteIdx, monkeypatch) -> None:
    """The two name their files alike; a data root given one folder too deep must not swap them silently."""
    _, labels = _write_split(data_root, write_idx)
    official = {hashlib.sha256(labels.read_bytes()).hexdigest(): "mnist"}
    monkeypatch.setattr(datasets, "_LABELS_OF", official)
    assert len(load_dataset("mnist", "train")) == 5
    with pytest.raises(ZoovetError, match="labels-idx1-ubyte belongs to 'mnist', but 'fashion-mnist' was asked for"):
        load_dataset("fashion-mnist", "train")
