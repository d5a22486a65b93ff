"""Reference images: arrays, folders of classes, archives; what is wrong with them is one line."""

from __future__ import annotations

import zipfile
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
        (np.zeros((9, 8, 3), np.uint8), None, r"got \[9, 8, 3\], which looks like one image: images\[None\]$"),
        (
            np.zeros((2, 4, 32, 32), np.uint8),
            None,
            r"at most 16 channels, got \[2, 4, 32, 32\]; channels come last: images.transpose\(0, 2, 3, 1\)$",
        ),
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


def test_scaling_maps_black_to_minus_one_and_white_to_one(image_set: Images) -> None:
    levels = Images(
        name="levels",
        pixels=torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1),
        labels=torch.zeros(3).long(),
        num_classes=1,
    )
    assert torch.allclose(levels.scaled().flatten(), torch.tensor([-1.0, -0.6, 1.0]))
    assert levels.scaled().dtype == torch.float32
    assert levels.pixels.flatten().tolist() == [0, 51, 255]


def test_subset_keeps_order_and_length(image_set: Images) -> None:
    subset = image_set[torch.tensor([5, 3])]
    assert len(subset) == 2
    assert subset.labels.tolist() == [5, 3]
    assert torch.equal(subset.pixels[1], image_set.pixels[3])
    assert image_set.shape == (1, 12, 10)


def test_grayscale_is_the_luma_of_bt_601() -> None:
    pixels = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]], dtype=torch.uint8)
    color = Images(name="color", pixels=pixels.view(5, 3, 1, 1), labels=torch.zeros(5).long(), num_classes=1)
    expected = [round(0.299 * red + 0.587 * green + 0.114 * blue) for red, green, blue in pixels.tolist()]
    assert color.grayscale().pixels.flatten().tolist() == expected == [76, 150, 29, 255, 18]
    assert color.grayscale().shape == (1, 1, 1)
    assert color.grayscale().grayscale().pixels.flatten().tolist() == expected


def test_grayscale_of_two_channels_is_refused() -> None:
    two = Images(
        name="two", pixels=torch.zeros(1, 2, 4, 4, dtype=torch.uint8), labels=torch.zeros(1).long(), num_classes=1
    )
    with pytest.raises(ZoovetError, match=r"needs images of 3 channels .*, 'two' has 2"):
        two.grayscale()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": torch.zeros(2, 1, 4, 4)}, r"'bad' must be uint8 \[N, C, H, W\], at least one, got torch.float32"),
        ({"pixels": torch.zeros(2, 4, 4, dtype=torch.uint8)}, r"got torch.uint8 \[2, 4, 4\]"),
        ({"labels": torch.zeros(2)}, r"labels of 2 images in 'bad' must be int64 \[2\], got torch.float32"),
        ({"labels": torch.zeros(3).long()}, r"labels of 2 images in 'bad' must be int64 \[2\], got torch.int64 \[3\]"),
        ({"labels": torch.tensor([0, 4])}, "labels of 'bad' must lie in 0 to 3, got 4"),
        ({"labels": torch.tensor([-1, 0])}, "labels must be 0 or more, got -1"),
        ({"class_names": ("a", "b")}, "'bad' has 4 classes, but 2 names of classes"),
    ],
)
def test_what_are_no_images_is_refused(changes: dict[str, Any], message: str) -> None:
    good = {"pixels": torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "labels": torch.zeros(2).long(), "num_classes": 4}
    with pytest.raises(ZoovetError, match=message):
        Images(name="bad", **(good | changes))


def test_classes_are_as_many_as_are_named_or_occur() -> None:
    pixels, labels = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 2])
    assert Images(pixels=pixels, labels=labels).label_names == ("0", "1", "2")
    named = Images(pixels=pixels, labels=labels, class_names=("a", "b", "c", "d"))
    assert (named.num_classes, named[:1].num_classes, named[:1].label_names[3]) == (4, 4, "d")
    assert Images(pixels=pixels).num_classes == 0
    with pytest.raises(ZoovetError, match="'pets' has no labels"):
        _ = Images(pixels=pixels, name="pets").required_labels


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
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("cat/1.png", b"")
    with pytest.raises(ZoovetError, match=r"it has cat/1\.png; unpack it, and give the folder of class folders"):
        Images.from_file(tmp_path / "photos.zip")
    np.savez(path, images=np.zeros((2, 3, 3)))
    with pytest.raises(ZoovetError, match=r"own.npz: images must be uint8"):
        Images.from_file(path)
    np.savez(path, images=np.array([{}, None], dtype=object))
    with pytest.raises(ZoovetError, match=r"none.npz cannot be read: No such file or directory; reference images"):
        Images.from_file(tmp_path / "none.npz")
    with pytest.raises(ZoovetError, match=r"own.npz cannot be read: it has an array of Python objects, which is code"):
        Images.from_file(path)
    for content in (b"", b"PK\x03\x04 broken", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(ZoovetError, match=r"own.npz cannot be read: .*a folder of class folders, or an .npz") as e:
            Images.from_file(path)
        assert "load" not in str(e.value)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ZoovetError, match="is one array, expected is an"):
        Images.from_file(tmp_path / "one.npy")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 28])
def test_images_with_channels_first_are_read_as_such_and_a_note_says_so(
    tmp_path: Path, channels: int, side: int
) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (4, channels, side, side + 1), dtype=np.uint8)
    np.savez(tmp_path / "first.npz", images=drawn, labels=np.arange(4))
    for images in (
        Images.from_file(tmp_path / "first.npz"),
        Images.from_arrays(drawn),
        Images.from_arrays(memmap(drawn, tmp_path)),
    ):
        assert np.array_equal(images.pixels.numpy(), drawn)
        assert images.notes == (
            "images are read as [N, C, H, W], with the channels first, as axis 1 is that of 1 or 3 channels",
        )
    for last in (np.moveaxis(drawn, 1, -1), drawn[:, :, :, :channels]):  # as photos are kept, or where both axes fit
        images = Images.from_arrays(last)
        assert np.array_equal(images.pixels.numpy(), np.moveaxis(last, -1, 1))
        assert images.notes == ()


def memmap(array: np.ndarray[Any, np.dtype[np.uint8]], folder: Path) -> np.memmap[Any, np.dtype[np.uint8]]:
    np.save(folder / "first.npy", array)
    return np.load(folder / "first.npy", mmap_mode="c")  # type: ignore[no-any-return]


def test_an_archive_that_is_damaged_anywhere_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    drawn = np.random.default_rng(0).integers(0, 9, (20, 6, 6), dtype=np.uint8)
    np.savez_compressed(path, images=drawn, labels=np.arange(20) % 3)
    whole, refusals = path.read_bytes(), set[str]()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            Images.from_file(path)
        except ZoovetError as error:
            refusals.add(str(error))
    assert any("while decompressing" in said for said in refusals)
    assert all("own.npz" in said and "\n" not in said for said in refusals)


def test_images_of_any_size_and_colour_are_brought_to_what_a_network_reads(tmp_path: Path) -> None:
    for place, (mode, size) in enumerate([("L", (4, 6)), ("RGB", (9, 5))]):
        (tmp_path / "photos" / "a").mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, 200 if mode == "L" else (200, 100, 0)).save(tmp_path / "photos" / "a" / f"{place}.png")
    for folder in (tmp_path / "photos", str(tmp_path / "photos")):
        images = Images.from_file(folder, (3, 8, 7))
        assert images.shape == (3, 8, 7)
        assert images.pixels[:, :, 0, 0].tolist() == [[200, 200, 200], [200, 100, 0]]
        assert images.notes == ("images of another size or colour are brought to 3×8×7 (channels, height, width)",)
    assert Images.from_file(tmp_path / "photos", (1, 8, 7)).shape == (1, 8, 7)
    np.savez(tmp_path / "few.npz", images=np.full((2, 5, 5), 7, np.uint8), labels=np.array([0, 1]))
    brought = Images.from_file(tmp_path / "few.npz", (3, 2, 2))
    assert brought.pixels.tolist() == np.full((2, 3, 2, 2), 7).tolist()
    assert Images.from_file(tmp_path / "few.npz", (25,)).shape == (1, 5, 5)
