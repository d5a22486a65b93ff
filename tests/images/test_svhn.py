from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from zoovet.errors import ZoovetError
from zoovet.images import load_dataset
from zoovet.images.downloads import REMOTE_FILES, RemoteFile

_GENERATOR = np.random.default_rng(0)
IMAGES = {
    split: _GENERATOR.integers(256, size=(n, 32, 32, 3), dtype=np.uint8) for split, n in (("train", 12), ("test", 4))
}
DIGITS = {"train": np.arange(12) % 10, "test": np.array([0, 9, 1, 0])}


@pytest.fixture
def folder(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small files in the layout of the official ones, whose checksums stand where the official ones do."""
    folder = data_root / "svhn"
    folder.mkdir()
    files = []
    for split, images in IMAGES.items():
        path = folder / f"{split}_32x32.mat"
        labels = np.where(DIGITS[split] == 0, 10, DIGITS[split]).astype(np.uint8)
        savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]}, do_compression=True)
        files.append(RemoteFile("http://127.0.0.1:9/", path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    monkeypatch.setitem(REMOTE_FILES, "svhn", tuple(files))
    return folder


def test_images_stand_upright_and_the_label_10_is_the_digit_0(folder: Path) -> None:
    for split in ("train", "test"):
        found = load_dataset("svhn", split)
        assert found.pixels.dtype == torch.uint8
        assert found.shape == (3, 32, 32)
        assert found.num_classes == 10
        assert np.array_equal(found.pixels.numpy(), IMAGES[split].transpose(0, 3, 1, 2))
        assert found.labels.tolist() == DIGITS[split].tolist()


def test_files_are_found_in_the_data_root_itself(folder: Path, data_root: Path) -> None:
    (folder / "test_32x32.mat").rename(data_root / "test_32x32.mat")
    assert load_dataset("svhn", "test", grayscale=True).shape == (1, 32, 32)


@pytest.mark.parametrize("damage", ["truncated", "one byte changed"])
def test_damaged_files_never_reach_the_reader(damage: str, folder: Path) -> None:
    """scipy's reader of MATLAB files crashes the process on some damaged ones."""
    path = folder / "train_32x32.mat"
    data = path.read_bytes()
    wanted = hashlib.sha256(data).hexdigest()
    path.write_bytes(data[:-9] if damage == "truncated" else data[:-1] + bytes([data[-1] ^ 1]))
    message = rf"train_32x32\.mat is damaged or not SVHN's official .*: expected SHA-256 {wanted}, got [0-9a-f]{{64}} "
    with pytest.raises(ZoovetError, match=message + r"\(\d+ bytes\); delete it to have it downloaded again"):
        load_dataset("svhn", "train")


def test_a_file_that_cannot_be_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(ZoovetError, match=r"test_32x32\.mat cannot be read: .*Permission denied"):
        load_dataset("svhn", "test")


def test_a_split_that_is_not_there_is_downloaded_from_the_official_address(folder: Path) -> None:
    (folder / "test_32x32.mat").unlink()
    with pytest.raises(ZoovetError, match=r"'svhn' was not found in .*put train_32x32\.mat, test_32x32\.mat into"):
        load_dataset("svhn", "test")


def test_official_addresses() -> None:
    assert {remote.address + remote.name for remote in REMOTE_FILES["svhn"]} == {
        "https://ufldl.stanford.edu/housenumbers/train_32x32.mat",
        "https://ufldl.stanford.edu/housenumbers/test_32x32.mat",
    }
