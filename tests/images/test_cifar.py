from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from zoovet.errors import ZoovetError
from zoovet.images import load_dataset

NUM_TRAIN, NUM_TEST = 10, 3
_GENERATOR = np.random.default_rng(0)
IMAGES = {
    "train": _GENERATOR.integers(256, size=(NUM_TRAIN, 3, 32, 32), dtype=np.uint8),
    "test": _GENERATOR.integers(256, size=(NUM_TEST, 3, 32, 32), dtype=np.uint8),
}
LABELS = {"train": np.arange(NUM_TRAIN) % 10, "test": np.array([7, 0, 2])}


def _batch_names(split: str) -> list[str]:
    return [f"data_batch_{k}" for k in range(1, 6)] if split == "train" else ["test_batch"]


def write_binary(folder: Path) -> None:
    target = folder / "cifar-10-batches-bin"
    target.mkdir(parents=True)
    for split in ("train", "test"):
        records = np.concatenate([LABELS[split][:, None].astype(np.uint8), IMAGES[split].reshape(-1, 3072)], axis=1)
        for name, part in zip(_batch_names(split), np.split(records, len(_batch_names(split))), strict=True):
            (target / f"{name}.bin").write_bytes(part.tobytes())


def write_python(folder: Path) -> None:
    target = folder / "cifar-10-batches-py"
    target.mkdir(parents=True)
    for split in ("train", "test"):
        parts = len(_batch_names(split))
        images = np.split(IMAGES[split].reshape(-1, 3072), parts)
        labels = np.split(LABELS[split], parts)
        for k, name in enumerate(_batch_names(split)):
            batch = {
                b"batch_label": b"replica",
                b"labels": labels[k].tolist(),
                b"data": images[k],
                b"filenames": [b"a.png"],
            }
            (target / name).write_bytes(pickle.dumps(batch, protocol=2))


def write_archive(version: str, name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (write_binary if version == "bin" else write_python)(folder / "unpacked")
        with tarfile.open(folder / name, "w:gz") as tar:
            tar.add(folder / f"unpacked/cifar-10-batches-{version}", arcname=f"cifar-10-batches-{version}")

    return write


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, format="png")
    return file.getvalue()


def write_parquet(place: str, column: str = "img") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / place).mkdir(parents=True, exist_ok=True)
        for split, num_shards in (("train", 2), ("test", 1)):
            rows = [{"bytes": _png(image), "path": None} for image in IMAGES[split]]
            size = len(rows) // num_shards
            for k in range(num_shards):
                part = slice(k * size, (k + 1) * size)
                table = pyarrow.table(
                    {column: rows[part], "label": pyarrow.array(LABELS[split][part], pyarrow.int64())}
                )
                pyarrow.parquet.write_table(table, folder / place / f"{split}-{k:05d}-of-{num_shards:05d}.parquet")

    return write


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "binary": write_binary,
    "python": write_python,
    "binary archive": write_archive("bin", "cifar-10-binary.tar.gz"),
    "python archive": write_archive("py", "cifar-10-python.tar.gz"),
    "parquet": write_parquet("."),
    "parquet in plain_text": write_parquet("plain_text"),
    "parquet with a column image": write_parquet("data", "image"),
}


@pytest.fixture
def folder(data_root: Path) -> Path:
    (data_root / "cifar10").mkdir()
    return data_root / "cifar10"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images(layout: str, folder: Path) -> None:
    LAYOUTS[layout](folder)
    for split in ("train", "test"):
        found = load_dataset("cifar10", split)
        assert np.array_equal(found.pixels.numpy(), IMAGES[split])
        assert found.labels.tolist() == LABELS[split].tolist()


def test_grayscale_is_one_channel(folder: Path) -> None:
    write_binary(folder)
    gray = load_dataset("cifar10", "test", grayscale=True)
    red, green, blue = IMAGES["test"].astype(float).transpose(1, 0, 2, 3)
    assert np.abs(gray.pixels[:, 0].numpy() - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 0.5 + 1e-9


def test_truncated_binary_batch_says_its_bytes(folder: Path) -> None:
    write_binary(folder)
    path = folder / "cifar-10-batches-bin/data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ZoovetError, match=r"data_batch_3.bin is truncated .* a multiple of 3073 bytes .*, got 6145"):
        load_dataset("cifar10", "train")


def test_label_that_is_no_class_is_refused(folder: Path) -> None:
    write_binary(folder)
    (folder / "cifar-10-batches-bin/test_batch.bin").write_bytes(bytes([11]) + bytes(3072))
    with pytest.raises(ZoovetError, match=r"test_batch\.bin has labels from 11 to 11; those of CIFAR-10 are 0 to 9"):
        load_dataset("cifar10", "test")


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_pickle_with_code_is_refused_and_never_run(folder: Path, tmp_path: Path) -> None:
    write_python(folder)
    batch = {b"labels": [1], b"data": _Malicious(tmp_path / "was_run")}
    (folder / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(ZoovetError, match=r"test_batch is damaged .*: it asks for (posix|nt).mkdir, .* refused"):
        load_dataset("cifar10", "test")
    assert not (tmp_path / "was_run").exists()


def test_pickle_that_calls_a_codec_is_refused(folder: Path) -> None:
    """``_codecs.encode`` is needed for bytes, but other codecs would unpack bombs."""
    write_python(folder)
    call = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R."
    (folder / "cifar-10-batches-py/test_batch").write_bytes(call)
    with pytest.raises(ZoovetError, match="encoding 'zip' has no place in it"):
        load_dataset("cifar10", "test")


def _batch(**changes: Any) -> bytes:
    good = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
    return pickle.dumps(good | changes, protocol=2)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (_batch()[:-40], "test_batch is damaged or no CIFAR batch"),
        (b"", "test_batch is damaged or no CIFAR batch: Ran out of input"),
        (b"<!DOCTYPE html>", "test_batch is damaged or no CIFAR batch"),
        (pickle.dumps([1, 2]), "it holds no dictionary"),
        (pickle.dumps({"data": b"x"}), "it needs an array 'data' and a list 'labels'"),
        (_batch(data=np.zeros((2, 3072))), "its array is not of unsigned bytes"),
        (_batch(data=np.zeros((2, 100), np.uint8)), "has 100 values an image; those of CIFAR-10 have 3072"),
        (_batch(data=np.zeros(3072, np.uint8)), r"has data of shape \(3072,\)"),
        (_batch(labels=[1]), "has 2 images but 1 labels"),
        (_batch(labels=[1, None]), "test_batch is damaged or no CIFAR batch"),
        (pickle.dumps({"data": np.zeros((0, 3072), np.uint8), "labels": []}, protocol=3), "test_batch has no images"),
    ],
)
def test_damaged_python_batches_are_named(batch: bytes, message: str, folder: Path) -> None:
    write_python(folder)
    (folder / "cifar-10-batches-py/test_batch").write_bytes(batch)
    with pytest.raises(ZoovetError, match=message):
        load_dataset("cifar10", "test")


def test_archives_that_are_truncated_or_lack_batches_are_named(folder: Path) -> None:
    LAYOUTS["binary archive"](folder)
    archive = folder / "cifar-10-binary.tar.gz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ZoovetError, match=r"cifar-10-binary.tar.gz cannot be read: .*; delete it"):
        load_dataset("cifar10", "train")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "unpacked", arcname="elsewhere")
    with pytest.raises(ZoovetError, match=r"is not the official archive: .*data_batch_1\.bin"):
        load_dataset("cifar10", "train")


def test_missing_parquet_shard_is_said(folder: Path) -> None:
    write_parquet(".")(folder)
    (folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(ZoovetError, match=r"holds 1 of the 2 shards that train-00000-of-00002\.parquet announces"):
        load_dataset("cifar10", "train")


def test_truncated_parquet_is_named(folder: Path) -> None:
    write_parquet(".")(folder)
    path = folder / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ZoovetError, match=r"test-00000-of-00001\.parquet cannot be read as Parquet images"):
        load_dataset("cifar10", "test")


def _row(data: bytes | None) -> dict[str, Any]:
    return {"bytes": data, "path": "a.png"}


_GOOD = _row(_png(IMAGES["test"][0]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": [_GOOD], "label": [0]}, "needs a column 'img' .* and a column 'label', it has picture, label"),
        ({"img": ["a.png"], "label": [0]}, "cannot be read as Parquet images"),
        ({"img": [_GOOD, _row(None)], "label": [0, 1]}, "row 1 of .* has no image bytes"),
        ({"img": [_GOOD, _row(b"GIF?")], "label": [0, 1]}, "the image in row 1 of .* cannot be decoded"),
        (
            {"img": [_GOOD, _row(_png(IMAGES["test"][0][:, :8]))], "label": [0, 1]},
            r"row 1 of .* has shape \(8, 32, 3\)",
        ),
        ({"img": [_row(_png(IMAGES["test"][0][:, :8]))], "label": [0]}, r"has images of \(3, 8, 32\)"),
        ({"img": [_GOOD, _GOOD], "label": [0, None]}, "labels of .* must be integers and none may be missing"),
        ({"img": [_GOOD], "label": ["cat"]}, "labels of .* must be integers"),
        ({"img": [_GOOD], "label": [-1]}, "has labels from -1 to -1"),
    ],
)
def test_bad_parquet_rows_are_named(columns: dict[str, list[Any]], message: str, folder: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "test-00000-of-00001.parquet")
    with pytest.raises(ZoovetError, match=message):
        load_dataset("cifar10", "test")


def test_parquet_without_rows_is_refused(folder: Path) -> None:
    write_parquet(".")(folder)
    path = folder / "test-00000-of-00001.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).slice(0, 0), path)
    with pytest.raises(ZoovetError, match=r"test-00000-of-00001\.parquet has no images"):
        load_dataset("cifar10", "test")
