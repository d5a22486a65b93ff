"""Folders of class folders: large ones are decoded as they are asked for; what is wrong is named and counted."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoovet.errors import ZoovetError
from zoovet.images import Images, image_files, stored_pixels


def picture(value: int, size: tuple[int, int] = (6, 8)) -> Image.Image:
    return Image.fromarray(np.full((*size, 3), value, np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            picture(10 * number + (name == "dog")).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded."""
    names: list[str] = []
    opened = image_files._opened

    def noted(path: Path, size: tuple[int, int] | None) -> Image.Image:
        names.append(path.name)
        return opened(path, size)

    monkeypatch.setattr(image_files, "_opened", noted)
    return names


def test_a_few_of_thousands_of_large_images_are_all_that_is_decoded(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "many" / name).mkdir(parents=True)
        source = tmp_path / "many" / name / "0000.png"
        picture(100, (64, 64)).save(source, compress_level=1)
        for number in range(1, 1000):
            (source.parent / f"{number:04d}.png").hardlink_to(source)
    monkeypatch.setattr(stored_pixels, "MOST_IN_MEMORY", 2_000_000)
    tracemalloc.start()
    images = Images.from_folder(tmp_path / "many")
    some = images[torch.tensor([3, 1999, 500])]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(images), images.shape) == (2000, (3, 64, 64))
    assert decoded == ["0003.png", "0999.png", "0500.png"]
    assert some.labels is not None
    assert some.labels.tolist() == [0, 1, 0]
    assert some.pixels.eq(100).all()
    assert peak < 4_000_000  # all of them are 24,576,000 bytes


def test_large_folders_hold_the_same_images_as_small_ones(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "cat" / "bad.png").write_bytes(b"no image")
    for size in (None, (3, 4)):
        small = Images.from_folder(photos, size=size)
        with monkeypatch.context() as patched:
            patched.setattr(stored_pixels, "MOST_IN_MEMORY", 1)
            large = Images.from_folder(photos, size=size)
            assert isinstance(large.stored, image_files.FilePixels)
            assert torch.equal(large.pixels, small.pixels)
            for change in (Images.grayscale, lambda images: images.resized((5, 5)), lambda images: images[2:5]):
                assert not isinstance(change(large).stored, torch.Tensor)
                assert torch.equal(change(large).pixels, change(small).pixels)
        assert torch.equal(large.required_labels, small.required_labels)
        assert (large.class_names, large.notes) == (small.class_names, small.notes)


def test_a_file_that_only_begins_like_an_image_is_named_when_it_is_decoded(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photos / "dog" / "2.png"
    path.write_bytes(path.read_bytes()[:50])
    assert Images.from_folder(photos).notes == (f"1 of 8 images cannot be read, left out: {Path('dog') / '2.png'}",)
    monkeypatch.setattr(stored_pixels, "MOST_IN_MEMORY", 1)
    images = Images.from_folder(photos)
    with pytest.raises(ZoovetError, match=r"2\.png cannot be decoded, though it begins like an image: .*; mend it or"):
        images.pixels.sum()


def test_images_of_several_sizes_name_two_of_them(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(0, (6, 9)).save(photos / "dog" / "1.png")
    for most in (stored_pixels.MOST_IN_MEMORY, 1):
        monkeypatch.setattr(stored_pixels, "MOST_IN_MEMORY", most)
        with pytest.raises(ZoovetError, match=r"dog.1\.png is 6×9 \(height, width\), .*cat.0\.png 6×8: .*images.size"):
            Images.from_folder(photos)
        assert Images.from_folder(photos, size=(4, 4)).shape == (3, 4, 4)


def test_a_folder_with_splits_says_which_folder_to_give(photos: Path) -> None:
    (photos.parent / "all").mkdir()
    photos.rename(photos.parent / "all" / "train")
    with pytest.raises(ZoovetError, match=r"all: it has no images; .*train has class folders, give that"):
        Images.from_folder(photos.parent / "all")


def test_class_folders_without_images_are_counted_and_named(photos: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (photos / name).mkdir()
    images = Images.from_folder(photos)
    assert images.notes == ("4 of 6 class folders have no images: a, b, c and 1 more",)
    assert images.num_classes == 6


def test_a_list_of_labels_beside_images_is_named_as_not_read(photos: Path) -> None:
    (photos / "cat" / "labels.csv").write_text("0.png,cat\n")
    found = image_files.read_image_folder(photos / "cat")
    assert found.labels is None
    assert found.notes == ("lists beside images are not read, class folders say labels: labels.csv",)
    assert image_files.read_image_folder(photos).notes == ()


@pytest.mark.parametrize("size", [None, (6, 6)])
@pytest.mark.parametrize(("white", "is_dark"), [(4095, True), (65535, False), (9000, False)])
def test_images_of_twelve_bits_in_sixteen_are_named(
    tmp_path: Path, size: tuple[int, int] | None, white: int, is_dark: bool
) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(2):
            values = np.linspace(0, white // (2 - number), 64).astype(np.uint16).reshape(8, 8)
            Image.fromarray(values).save(tmp_path / "photos" / label / f"{number}.png")
    notes = image_files.read_image_folder(tmp_path / "photos", size=size).notes
    assert bool(notes) == is_dark
    if is_dark:
        assert notes[0].startswith("images of 16 bits are nearly black: the brightest value is 4095 of 65535")
