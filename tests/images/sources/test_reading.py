"""Images of any origin become training and test images; what is wrong with them is one line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from zoovet.errors import ZoovetError
from zoovet.images import GlyphConfig, Images, stored_pixels
from zoovet.images.parquet import ParquetPixels
from zoovet.images.sources import ImageSource, load_source

GRAY = np.random.default_rng(0).integers(256, size=(6, 4, 5), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(256, size=(6, 4, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def load(source: Path | str, **options: Any) -> tuple[Images, Images]:
    return load_source(ImageSource(source=str(source), **options))


def class_folders(folder: Path, count: int, classes: tuple[str, ...] = ("cat", "dog"), suffix: str = "png") -> None:
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            values = np.full((4, 5, 3), 40 * number + place, np.uint8)
            Image.fromarray(values).save(folder / name / f"{number}.{suffix}", lossless=True)


def folders(folder: Path) -> None:
    class_folders(folder / "train", 3)
    class_folders(folder / "val", 2, suffix="webp")


def archive(folder: Path) -> None:
    np.savez(folder / "a.npz", x_train=COLOUR, y_train=LABELS[:, None], x_test=COLOUR[:3], y_test=LABELS[:3])


def pairs(folder: Path) -> None:
    arrays = {"train_images": GRAY, "train_labels": LABELS, "test_images": GRAY[:3], "test_labels": LABELS[:3]}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def idx(folder: Path) -> None:
    for prefix, count in (("train", 6), ("t10k", 3)):
        for name, array in (("images-idx3", GRAY[:count]), ("labels-idx1", LABELS[:count].astype(np.uint8))):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / f"{prefix}-{name}-ubyte").write_bytes(head + array.tobytes())


def encoded(image: NDArray[np.uint8]) -> dict[str, bytes]:
    data = BytesIO()
    Image.fromarray(image).save(data, "png")
    return {"bytes": data.getvalue()}


def parquet(folder: Path) -> None:
    names = {"info": {"features": {"label": {"names": ["a", "b", "c"]}}}}
    (folder / "data").mkdir()
    for split, count in (("train", 6), ("test", 3)):
        table = pa.table({"image": [encoded(image) for image in COLOUR[:count]], "label": LABELS[:count]})
        table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")


LAYOUTS: list[tuple[Callable[[Path], None], str, tuple[int, int], tuple[int, int, int], tuple[str, ...]]] = [
    (folders, "", (6, 4), (3, 4, 5), ("cat", "dog")),
    (archive, "a.npz", (6, 3), (3, 4, 5), ("0", "1", "2")),
    (pairs, "", (6, 3), (1, 4, 5), ("0", "1", "2")),
    (idx, "", (6, 3), (1, 4, 5), ("0", "1", "2")),
    (parquet, "", (6, 3), (3, 4, 5), ("a", "b", "c")),
]


@pytest.mark.parametrize(("write", "name", "lengths", "shape", "names"), LAYOUTS)
def test_every_layout_with_a_split(
    folder: Path, write: Callable[[Path], None], name: str, lengths: Any, shape: Any, names: Any
) -> None:
    write(folder)
    train, test = load(folder / name)
    assert (len(train), len(test)) == lengths
    assert train.shape == test.shape == shape
    assert train.label_names == test.label_names == names
    assert train.name == (folder / name).name
    if write is not folders:
        whole = GRAY[:, None] if shape[0] == 1 else COLOUR.transpose(0, 3, 1, 2)
        assert np.array_equal(train.pixels.numpy(), whole)
        assert np.array_equal(test.required_labels.numpy(), LABELS[:3])


def test_a_split_is_drawn_from_a_seed_class_by_class(folder: Path) -> None:
    class_folders(folder, 5)
    parts = load(folder, test_share=0.4)
    assert [part.required_labels.bincount().tolist() for part in parts] == [[3, 3], [2, 2]]
    everything = torch.cat([part.pixels[:, 0, 0, 0] for part in parts]).sort().values.tolist()
    assert everything == sorted(40 * number + place for number in range(5) for place in range(2))
    assert torch.equal(load(folder, test_share=0.4)[1].pixels, parts[1].pixels)
    assert any(not torch.equal(load(folder, test_share=0.4, seed=seed)[1].pixels, parts[1].pixels) for seed in (1, 2))


def test_size_and_colour_are_changed_where_asked(folder: Path) -> None:
    class_folders(folder, 2)
    Image.new("RGB", (9, 9), (255, 0, 0)).save(folder / "cat" / "large.png")
    train, test = load(folder, size=(6, 7), color="gray")
    assert train.shape == test.shape == (1, 6, 7)
    np.savez(folder / "own.npz", images=GRAY, labels=LABELS)
    train, _ = load(folder / "own.npz", size=(2, 2), color="rgb")
    assert train.shape == (3, 2, 2)
    assert torch.equal(train.pixels[:, 0], train.pixels[:, 2])
    flat = Images(pixels=torch.full((2, 1, 8, 8), 77, dtype=torch.uint8)).resized((3, 5))
    assert flat.pixels.unique().tolist() == [77]


def test_a_name_is_a_dataset_and_glyphs_look_as_asked() -> None:
    assert [part.shape for part in load("digits", size=(16, 16))] == [(1, 16, 16)] * 2
    look = GlyphConfig(num_classes=2, size=8, color=True)
    train, test = load("glyphs", glyphs=look)
    assert (train.shape, test.label_names) == ((3, 8, 8), ("0", "1"))


def test_unreadable_images_are_counted_and_named(folder: Path) -> None:
    class_folders(folder, 3)
    (folder / "cat" / "bad\x1b.png").write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"1 of 7 images cannot be read, left out: cat/bad\\x1b\.png"):
        load(folder)


def _one_class(folder: Path) -> None:
    class_folders(folder, 3, ("cat",))


def _other_classes(folder: Path) -> None:
    class_folders(folder / "train", 2)
    class_folders(folder / "test", 2, ("cat", "cow"))


def _no_test(folder: Path) -> None:
    class_folders(folder / "train", 2)


def _single(folder: Path) -> None:
    class_folders(folder, 1)


def _sizes(folder: Path) -> None:
    class_folders(folder, 2)
    Image.new("RGB", (9, 9)).save(folder / "cat" / "large.png")


def _no_labels(folder: Path) -> None:
    np.save(folder / "images.npy", GRAY)


def _half_a_split(folder: Path) -> None:
    np.save(folder / "train_images.npy", GRAY)


def _objects(folder: Path) -> None:
    np.save(folder / "images.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.save(folder / "labels.npy", LABELS)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_one_class, "has images of one class; networks need two classes or more"),
        (lambda folder: None, "it has no images; expected are class folders"),
        (_other_classes, "has other classes in training than in test images: cow"),
        (_no_test, r"train holds training images, but there is no test/ or val/ beside it"),
        (_single, "has one image of the class 'cat'; a split into training and test images needs two"),
        (_sizes, r"all must be of one size.* in a recipe images\.size"),
        (_no_labels, "has no arrays 'images' and 'labels', nor train_images.*: images"),
        (_half_a_split, "has 'train_images', but no 'train_labels'"),
        (_objects, r"images\.npy cannot be read as an array: it has an array of Python objects, which is code"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(folder: Path, write: Callable[[Path], None], message: str) -> None:
    write(folder)
    with pytest.raises(ZoovetError, match=message) as caught, warnings.catch_warnings():
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_source_that_is_none() -> None:
    with pytest.raises(ZoovetError, match=r"nowhere is no folder, no file and no dataset's name \(digits, glyphs, "):
        load("nowhere")
    for options, message in (
        ({"size": (0, 4)}, "size of images must be a height and a width of 1 to 4096"),
        ({"test_share": 1.0}, "test_share of images must lie between 0 and 1"),
        ({"seed": -1}, "seed of images must be at least 0"),
        ({"source": ""}, "source of images must be a path or the name of a dataset"),
        ({"glyphs": GlyphConfig(size=9)}, "source is 'x'; leave it out"),
    ):
        with pytest.raises(ZoovetError, match=message):
            ImageSource(**({"source": "x"} | options))  # type: ignore[arg-type]


def test_large_parquet_is_decoded_as_it_is_asked_for_and_brought_to_a_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split, count in (("train", 7), ("test", 3)):
        images = [np.full((4 + number % 2, 5, 3), 20 * number, np.uint8) for number in range(count)]
        rows = [encoded(image) for image in images]
        table = pa.table({"image": rows, "fine_label": [number % 2 for number in range(count)]})
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet", row_group_size=2)
    with pytest.raises(ZoovetError, match=r"row 1 of .* has shape \(5, 5, 3\), .* \(4, 5, 3\); in a recipe, images.si"):
        load(folder)
    small, _ = load(folder, size=(3, 3))
    monkeypatch.setattr(stored_pixels, "MOST_IN_MEMORY", 1)
    train, test = load(folder, size=(3, 3))
    assert isinstance(train.stored, ParquetPixels)
    assert (len(train), len(test), train.shape) == (7, 3, (3, 3, 3))
    assert train[torch.tensor([5, 0, 3])].pixels[:, 0, 0, 0].tolist() == [100, 0, 60]
    assert torch.equal(train.pixels, small.pixels)
    assert train.required_labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
