"""Reference images: arrays, folders of classes, archives; what is wrong with them is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoovet import Images, ZoovetError


def picture(path: Path, value: int | tuple[int, int, int], size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def test_arrays_of_gray_and_colour_become_channels_first() -> None:
    gray = Images.from_arrays(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), [1, 0])
    assert (gray.shape, len(gray), gray.labels.tolist()) == ((1, 3, 4), 2, [1, 0])  # type: ignore[union-attr]
    colour = torch.arange(48, dtype=torch.uint8).reshape(2, 2, 4, 3)
    images = Images.from_arrays(colour)
    assert torch.equal(images.pixels, colour.permute(0, 3, 1, 2))
    assert images.labels is None
    assert torch.equal(images[torch.tensor([1])].pixels, images.pixels[1:])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 3)), None, "images must be uint8, 0 black to 255 white, got float64"),
        (np.zeros((3, 3), np.uint8), None, r"must be \[N, H, W\] or \[N, H, W, C\], at least one, got \[3, 3\]"),
        (np.zeros((0, 3, 3), np.uint8), None, r"at least one, got \[0, 3, 3\]"),
        (np.zeros((2, 3, 32, 32), np.uint8), None, r"at most 16 channels, got \[2, 3, 32, 32\]; channels come last"),
        (
            np.zeros((2, 3, 3), np.uint8),
            [0.5, 1],
            r"labels must be whole numbers \[2\], one an image, got float64 \[2\]",
        ),
        (np.zeros((2, 3, 3), np.uint8), [1], r"labels must be whole numbers \[2\], one an image, got int64 \[1\]"),
        (np.zeros((2, 3, 3), np.uint8), [0, -1], "labels must be 0 or more, got -1"),
    ],
)
def test_other_arrays_are_refused_with_both_shapes(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        Images.from_arrays(images, labels)


def test_a_folder_of_class_folders_is_read_in_the_order_of_their_names(folder: Path) -> None:
    picture(folder / "dog" / "b.png", (0, 0, 200))
    picture(folder / "cat" / "a.jpg", 90)
    picture(folder / "cat" / "c.bmp", (1, 2, 3))
    (folder / "cat" / "notes.txt").write_text("no image")
    (folder / "dog" / "a\x1b.png").write_bytes(b"\x89PNG broken")
    images = Images.from_folder(folder)
    assert (images.shape, images.class_names) == ((3, 4, 6), ("cat", "dog"))
    assert images.labels is not None
    assert images.labels.tolist() == [0, 0, 1]
    assert images.pixels[2, :, 0, 0].tolist() == [0, 0, 200]
    assert images.notes == (r"1 of 4 images cannot be read, left out: dog/a\x1b.png",)


def test_gray_folders_stay_gray_and_numbers_are_labels(folder: Path) -> None:
    for name in ("10", "9"):
        picture(folder / name / "a.png", int(name))
    images = Images.from_file(folder)
    assert images.labels is not None
    assert (images.shape, images.labels.tolist()) == ((1, 4, 6), [9, 10])
    assert images.notes == ("names of the class folders are numbers, taken as labels",)
    Image.fromarray(np.full((4, 6), 65535, np.uint16)).save(folder / "10" / "b.png")
    assert Images.from_folder(folder).pixels[2].unique().tolist() == [255]


def test_a_folder_of_images_alone_has_no_labels(folder: Path) -> None:
    picture(folder / "a.png", 3)
    assert Images.from_folder(folder).labels is None


def test_folders_that_hold_no_reference_images_are_one_line(folder: Path) -> None:
    with pytest.raises(ZoovetError, match="it has no images; expected are class folders"):
        Images.from_folder(folder)
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(ZoovetError, match="none of its 1 images can be read"):
        Images.from_folder(folder)
    picture(folder / "b.png", 3)
    picture(folder / "c.png", 3, (7, 4))
    with pytest.raises(ZoovetError, match=r"c.png is 4×7 \(height, width\), .*b.png 4×6: all must be of one size"):
        Images.from_folder(folder)
    with pytest.raises(ZoovetError, match="cannot be read as a folder of images: No such file"):
        Images.from_folder(folder / "none")


def test_archives_hold_images_and_maybe_labels(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, images=np.zeros((2, 3, 3, 1), np.uint8), labels=np.array([4, 5]))
    images = Images.from_file(path)
    assert images.labels is not None
    assert (images.shape, images.labels.tolist()) == ((1, 3, 3), [4, 5])
    np.savez(path, images=np.zeros((2, 3, 3), np.uint8))
    assert Images.from_file(path).labels is None
    np.savez(path, pictures=np.zeros(1))
    with pytest.raises(ZoovetError, match=r"own.npz has no array 'images', it has pictures"):
        Images.from_file(path)
    np.savez(path, images=np.zeros((2, 3, 3)))
    with pytest.raises(ZoovetError, match=r"own.npz: images must be uint8"):
        Images.from_file(path)
    np.savez(path, images=np.array([{}, None], dtype=object))
    with pytest.raises(ZoovetError, match=r"own.npz cannot be read: .*allow_pickle"):
        Images.from_file(path)
    for content in (b"", b"PK\x03\x04 broken", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(ZoovetError, match=r"own.npz cannot be read: .*a folder of class folders, or an .npz"):
            Images.from_file(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ZoovetError, match="is one array, expected is an"):
        Images.from_file(tmp_path / "one.npy")
