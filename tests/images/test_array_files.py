"""Large arrays in archives and files stay on disk, compressed or not; some images of them are read."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import Images, stored_pixels
from zoovet.images.array_files import ZippedPixels, opened_npz, read_npy
from zoovet.images.parquet import find_parquet_shards
from zoovet.images.sources import ImageSource, load_source
from zoovet.images.sources.arrays import images_in_npy

NOISE = np.random.default_rng(0).integers(256, size=(3000, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(3000) % 10
PLACES = torch.tensor([2999, 5, 1234, 5])


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_pixels, "MOST_IN_MEMORY", 1_000_000)


def saved(path: Path, kind: str) -> Path:
    (np.savez_compressed if kind == "compressed" else np.savez)(path, images=NOISE, labels=LABELS)
    return path


@pytest.mark.parametrize("kind", ["stored", "compressed"])
def test_some_images_of_a_large_archive_are_read_without_the_others(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / "own.npz", kind)
    tracemalloc.start()
    images = Images.from_file(path)
    some = images[PLACES]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not isinstance(images.stored, torch.Tensor)
    assert (len(images), images.shape, images.num_classes) == (3000, (3, 32, 32), 10)
    assert torch.equal(some.pixels, torch.from_numpy(NOISE[PLACES.numpy()]).permute(0, 3, 1, 2))
    assert some.required_labels.tolist() == [9, 5, 4, 5]
    assert peak < 3_000_000  # all of them are 9,216,000 bytes
    assert torch.equal(images.pixels, torch.from_numpy(NOISE).permute(0, 3, 1, 2))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_large_archives_may_have_channels_first(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "own.npz", images=np.ascontiguousarray(NOISE.transpose(0, 3, 1, 2)), labels=LABELS)
    images = Images.from_file(tmp_path / "own.npz")
    assert not isinstance(images.stored, torch.Tensor)
    assert (images.shape, len(images.notes)) == ((3, 32, 32), 1)
    assert torch.equal(images[PLACES].pixels, torch.from_numpy(NOISE[PLACES.numpy()]).permute(0, 3, 1, 2))


def test_large_files_of_arrays_are_mapped_and_never_written(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, NOISE)
    before = path.read_bytes()
    array = read_npy(path)
    assert isinstance(array, np.memmap)
    images = Images.from_arrays(array, LABELS)
    assert isinstance(images.stored, stored_pixels.ArrayPixels)
    images[PLACES].pixels.zero_()
    assert path.read_bytes() == before
    assert torch.equal(images[PLACES].pixels, torch.from_numpy(NOISE[PLACES.numpy()]).permute(0, 3, 1, 2))


@pytest.mark.parametrize("kind", ["stored", "compressed"])
def test_archives_that_are_cut_short_or_hold_no_images_are_one_line(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / "own.npz", kind)
    path.write_bytes(path.read_bytes()[:-2_000_000])
    with pytest.raises(ZoovetError, match=r"own\.npz cannot be read: "):
        Images.from_file(path)
    (np.savez_compressed if kind == "compressed" else np.savez)(path, images=NOISE[:200].astype(np.float32))
    with pytest.raises(ZoovetError, match=r"own\.npz: images must be uint8.* float32"):
        Images.from_file(path)


def test_damage_inside_a_compressed_archive_is_said_when_it_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "own.npz", "compressed")
    data = bytearray(path.read_bytes())
    data[200_000:300_000] = bytes(100_000)
    path.write_bytes(bytes(data))
    images = Images.from_file(path)
    assert isinstance(images.stored, ZippedPixels)
    assert isinstance(pickle.loads(pickle.dumps(images)).stored, ZippedPixels)
    with pytest.raises(ZoovetError, match=r"own\.npz cannot be read: "):
        images.pixels.sum()


def test_an_archive_names_all_its_arrays(tmp_path: Path) -> None:
    with opened_npz(saved(tmp_path / "own.npz", "stored")) as archive:
        assert (list(archive), len(archive)) == (["images", "labels"], 2)
        np.testing.assert_array_equal(archive["labels"], LABELS)


def test_names_of_classes_travel_with_the_images(tmp_path: Path) -> None:
    path, names = tmp_path / "own.npz", [f"kind {label}" for label in range(10)]
    np.savez(path, images=NOISE[:50], labels=LABELS[:50], class_names=names)
    assert Images.from_file(path).class_names == tuple(names)
    train, test = load_source(ImageSource(source=str(path)))
    assert train.class_names == test.class_names == tuple(names)
    np.savez(path, images=NOISE[:50], labels=LABELS[:50], class_names=np.array(names, dtype="S"))
    assert Images.from_file(path).class_names == tuple(names)
    for bad, message in (
        (names[:7], "own.npz: labels of 'images' must lie in 0 to 6, got 9"),
        (np.arange(10), r"own.npz: class_names must be texts \[classes\], got int64 \[10\]"),
    ):
        np.savez(path, images=NOISE[:50], labels=LABELS[:50], class_names=bad)
        with pytest.raises(ZoovetError, match=message):
            Images.from_file(path)
        with pytest.raises(ZoovetError, match=message):
            load_source(ImageSource(source=str(path)))


def test_pipes_and_devices_are_refused_rather_than_waited_for(tmp_path: Path) -> None:
    for name in ("own.npz", "images.npy", "train-00000-of-00001.parquet"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(ZoovetError, match=r"own\.npz cannot be read: it is a named pipe, not a file; reference"):
        Images.from_file(tmp_path / "own.npz")
    with pytest.raises(ZoovetError, match=r"images\.npy cannot be read as an array: it is a named pipe, not a file"):
        read_npy(tmp_path / "images.npy")
    with pytest.raises(ZoovetError, match="zero cannot be read: it is a device, not a file"):
        Images.from_file("/dev/zero")
    assert images_in_npy(tmp_path) is None
    assert find_parquet_shards(tmp_path, "train") == []


def test_an_array_of_objects_is_code_and_no_advice_to_load_it_is_passed_on(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.array([{}, None], dtype=object))
    with pytest.raises(ZoovetError, match=r"images\.npy cannot be read as an array: it has .* Python obj") as e:
        read_npy(tmp_path / "images.npy")
    assert "allow_pickle" not in str(e.value)
    (tmp_path / "images.npy").write_bytes(pickle.dumps({}))
    with pytest.raises(ZoovetError, match=r"images\.npy cannot be read as an array: it is no \.npy file"):
        read_npy(tmp_path / "images.npy")
