"""Source images of SIRENs, and what editing makes of images: against slow versions and by their properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import load_dataset
from zoovet.tasks.edited_images import edited, load_originals, load_source_images
from zoovet.zoo import Zoo


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_dilation_takes_the_brightest_of_nine_pixels() -> None:
    images = noise(2, 3, 7, 5)
    result = edited(images, "dilation")
    for image, after in zip(images.flatten(0, 1), result.flatten(0, 1), strict=True):
        for row in range(7):
            for column in range(5):
                around = image[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
                assert after[row, column] == around.max()
    assert result.dtype == torch.uint8


def test_contrast_spreads_gray_values_and_keeps_hues() -> None:
    dull = 100 + noise(3, 1, 28, 28) // 16
    result = edited(dull, "contrast")
    assert (result.shape, result.dtype) == (dull.shape, torch.uint8)
    assert result.float().std() > 1.5 * dull.float().std()
    colours = torch.tensor([120, 60, 40], dtype=torch.uint8)[None, :, None, None] + noise(1, 1, 32, 32) // 16
    after = edited(colours, "contrast").float()
    assert after.std(dim=(2, 3)).min() > colours.float().std(dim=(2, 3)).max()
    assert (after[:, 0] > after[:, 1]).float().mean() > 0.95


def test_source_images_are_counted_through_the_splits_of_the_recipe(make_inr_zoo: Callable[..., Zoo]) -> None:
    train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
    assert torch.equal(load_source_images(make_inr_zoo()).pixels, train.pixels)
    both = load_source_images(make_inr_zoo(image_splits=["test", "train"]))
    assert torch.equal(both.pixels, torch.cat([test.pixels, train.pixels]))
    assert torch.equal(both.labels, torch.cat([test.labels, train.labels]))


def test_originals_are_labelled_by_their_image(make_inr_zoo: Callable[..., Zoo]) -> None:
    def copied(row: dict[str, Any]) -> None:
        row["copy"] = int(row["image_index"] == 2)

    train, validation = load_originals(make_inr_zoo(change=copied))
    assert train.labels.tolist() == [index for index in range(40) if index % 5 < 3 and index != 2]
    assert validation.labels.tolist() == [3, 8, 13, 18, 23, 28, 33, 38]


def test_zoos_that_do_not_say_what_they_show_are_refused(make_inr_zoo: Callable[..., Zoo]) -> None:
    def several(row: dict[str, Any]) -> None:
        row["dataset"] = "mnist" if row["image_index"] else "digits"

    def nameless(row: dict[str, Any]) -> None:
        del row["dataset"]

    with pytest.raises(ZoovetError, match=r"its column 'dataset' has 'digits' and 'mnist'"):
        load_source_images(make_inr_zoo(change=several))
    with pytest.raises(ZoovetError, match=r"its column 'dataset' has None"):
        load_source_images(make_inr_zoo(change=nameless))
    with pytest.raises(ZoovetError, match=r"must say under image_splits which splits .*; got \[\]"):
        load_source_images(make_inr_zoo(image_splits=[]))
    message = (
        r"the images of 'digits' are 8 × 8, but those that the SIRENs of the zoo .* show 28 × 28; give the dataset"
    )
    with pytest.raises(ZoovetError, match=message):
        load_source_images(make_inr_zoo(image_size=[28, 28]))
