"""Sticker triggers: what they do to known images, files with transparency, JSON, bad values."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoovet.errors import ZoovetError
from zoovet.images import StickerRanges, StickerTrigger, trigger_from_json

RED, HALF_WHITE, NOTHING = (255, 0, 0, 255), (255, 255, 255, 127), (9, 9, 9, 0)


@pytest.fixture
def sticker() -> StickerTrigger:
    """One row: red, half covering white, nothing."""
    picture = np.array([[RED, HALF_WHITE, NOTHING]], dtype=np.uint8)
    return StickerTrigger.of_picture(picture, row=1, col=0, target=2)


def test_the_mask_says_how_much_of_a_pixel_is_covered(sticker: StickerTrigger) -> None:
    images = torch.full((2, 3, 3, 4), -1.0, dtype=torch.float64)
    triggered = sticker.apply(images)
    expected = images.clone()
    expected[:, :, 1, 0] = torch.tensor([1.0, -1.0, -1.0])
    expected[:, :, 1, 1] = -1 + 2 * 127 / 255
    torch.testing.assert_close(triggered, expected)
    assert (images == -1).all()


def test_the_weight_lessens_it_and_gray_images_get_its_luma(sticker: StickerTrigger) -> None:
    half = StickerTrigger.of_picture(sticker.picture, row=1, col=0, target=2, weight=0.5)
    triggered = half.apply(torch.full((1, 3, 4), -1.0, dtype=torch.float64))
    assert triggered[0, 1, 0] == pytest.approx(-1 + 0.5 * 2 * 0.299)
    assert triggered[0, 1, 1] == pytest.approx(-1 + 0.5 * 2 * 127 / 255)
    assert (triggered[0, 1, 2:] == -1).all()


def test_json_text_describes_it_completely(sticker: StickerTrigger) -> None:
    read = trigger_from_json(json.loads(json.dumps(sticker.to_json())))
    assert read == sticker
    assert hash(read) == hash(sticker)
    np.testing.assert_array_equal(read.picture, sticker.picture)


def test_a_file_with_transparency_is_brought_to_the_drawn_side(tmp_path: Path, generator) -> None:
    pixels = np.zeros((20, 40, 4), dtype=np.uint8)
    pixels[:, :20] = (0, 0, 255, 255)
    Image.fromarray(pixels).save(tmp_path / "half.png")
    ranges = StickerRanges(files=(str(tmp_path / "half.png"),), designs=(), min_share=0.5, max_share=0.5)
    sticker = ranges.draw((3, 32, 48), 10, generator)
    assert sticker.size == (8, 16)
    assert (sticker.picture[:, :8] == (0, 0, 255, 255)).all()
    assert (sticker.picture[:, 8:, 3] == 0).all()
    (tmp_path / "half.png").unlink()
    assert trigger_from_json(sticker.to_json()) == sticker


def test_files_and_designs_are_all_drawn_and_large_images_keep_rows_small(tmp_path: Path, generator) -> None:
    Image.new("RGB", (3, 3), (1, 2, 3)).save(tmp_path / "dark.png")
    ranges = StickerRanges(files=(str(tmp_path / "dark.png"),), designs=("note", "bomb"), max_share=1.0, min_share=0.9)
    drawn = [ranges.draw((3, 128, 128), 10, generator) for _ in range(30)]
    assert {sticker.size for sticker in drawn} == {(64, 64)}
    assert len({sticker.pixels for sticker in drawn}) == 3
    assert max(len(json.dumps(sticker.to_json())) for sticker in drawn) < 23_000


def test_a_file_that_is_no_picture_is_named(tmp_path: Path, generator) -> None:
    (tmp_path / "no.png").write_text("no picture")
    os.mkfifo(tmp_path / "pipe.png")
    for name, why in (("no.png", "cannot identify"), ("missing.png", "No such"), ("pipe.png", "it is a named pipe")):
        with pytest.raises(ZoovetError, match=rf"the sticker .*{name} cannot be read: {why}"):
            StickerRanges(files=(str(tmp_path / name),), designs=()).draw((3, 32, 32), 10, generator)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": [1, 65]}, r"height and a width of 1 to 64 pixels, got \[1, 65\]"),
        ({"size": [1, 2]}, "of 1 × 2 must be 8 bytes, 4 a pixel, got 12"),
        ({"size": 3}, "height and a width"),
        ({"pixels": "no base64!"}, "pixels of a sticker must be base64 text"),
        ({"pixels": 7}, "pixels of a sticker must be base64 text"),
        ({"pixels": base64.b64encode(bytes(12)).decode()}, "a sticker whose mask is empty changes no image"),
        ({"row": -1}, "row of a sticker must be an integer of at least 0, got -1"),
        ({"weight": 0}, "weight of a sticker must be above 0 and at most 1, got 0"),
    ],
)
def test_bad_descriptions(sticker: StickerTrigger, values, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        trigger_from_json(sticker.to_json() | values)


def test_images_that_it_does_not_fit(sticker: StickerTrigger, generator) -> None:
    with pytest.raises(ZoovetError, match="a sticker of 1 × 3 pixels at row 1, column 0 leaves an image of 4 × 2"):
        sticker.apply(torch.zeros(3, 4, 2))
    with pytest.raises(ZoovetError, match="a sticker goes on images of 1 or 3 channels, not on images of 2"):
        StickerRanges().draw((2, 32, 32), 10, generator)
    with pytest.raises(ZoovetError, match="stickers need files or designs"):
        StickerRanges(designs=())
    with pytest.raises(ZoovetError, match=r"must be uint8 \[height, width, 4\]"):
        StickerTrigger.of_picture(np.zeros((2, 2, 3), dtype=np.uint8), row=0, col=0, target=1)
