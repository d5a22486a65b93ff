from __future__ import annotations

from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import ImageSet


def test_scaling_maps_black_to_minus_one_and_white_to_one(image_set: ImageSet) -> None:
    levels = ImageSet(
        "levels", torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1), torch.zeros(3).long(), 1
    )
    assert torch.allclose(levels.scaled().flatten(), torch.tensor([-1.0, -0.6, 1.0]))
    assert levels.scaled().dtype == torch.float32
    assert levels.images.flatten().tolist() == [0, 51, 255]


def test_subset_keeps_order_and_length(image_set: ImageSet) -> None:
    subset = image_set.subset(torch.tensor([5, 3]))
    assert len(subset) == 2
    assert subset.labels.tolist() == [5, 3]
    assert torch.equal(subset.images[1], image_set.images[3])
    assert image_set.image_shape == (1, 12, 10)


def test_grayscale_is_the_luma_of_bt_601() -> None:
    pixels = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]], dtype=torch.uint8)
    color = ImageSet("color", pixels.view(5, 3, 1, 1), torch.zeros(5).long(), 1)
    expected = [round(0.299 * red + 0.587 * green + 0.114 * blue) for red, green, blue in pixels.tolist()]
    assert color.grayscale().images.flatten().tolist() == expected == [76, 150, 29, 255, 18]
    assert color.grayscale().image_shape == (1, 1, 1)
    assert color.grayscale().grayscale().images.flatten().tolist() == expected


def test_grayscale_of_two_channels_is_refused() -> None:
    two = ImageSet("two", torch.zeros(1, 2, 4, 4, dtype=torch.uint8), torch.zeros(1).long(), 1)
    with pytest.raises(ZoovetError, match=r"needs images of 3 channels .*, 'two' has 2"):
        two.grayscale()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(2, 1, 4, 4)}, r"images of 'bad' must be uint8 \[N, C, H, W\], got torch.float32"),
        ({"images": torch.zeros(2, 4, 4, dtype=torch.uint8)}, r"got torch.uint8 \(2, 4, 4\)"),
        ({"labels": torch.zeros(2)}, r"labels of 'bad' must be int64 \[N\], got torch.float32"),
        ({"labels": torch.zeros(3).long()}, "'bad' has 2 images but 3 labels"),
        ({"labels": torch.tensor([0, 4])}, "labels of 'bad' must lie in 0 to 3, got 0 to 4"),
        ({"labels": torch.tensor([-1, 0])}, "labels of 'bad' must lie in 0 to 3, got -1 to 0"),
    ],
)
def test_what_is_no_image_set_is_refused(changes: dict[str, Any], message: str) -> None:
    good = {"images": torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "labels": torch.zeros(2).long()}
    with pytest.raises(ZoovetError, match=message):
        ImageSet(name="bad", num_classes=4, **(good | changes))
