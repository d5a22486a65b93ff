from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import PATCH_KINDS, PatchRanges, PatchTrigger, patch_values


def _patch(**changes: Any) -> PatchTrigger:
    arguments: dict[str, Any] = {"kind": "white", "target": 1, "row": 0, "col": 0, "weight": 1.0, "values": [[[1.0]]]}
    return PatchTrigger(**(arguments | changes))


def test_blend_is_the_formula_inside_and_nothing_outside(generator) -> None:
    patch = PatchTrigger.of_size(
        "random_gray", (2, 3), row=4, col=1, target=0, weight=0.7, num_channels=3, generator=generator
    )
    images = torch.rand(5, 2, 3, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = images.clone()
    triggered = patch.apply(images)

    expected = before.clone()
    for channel in range(3):
        for row in range(2):
            for col in range(3):
                pixel = before[..., channel, 4 + row, 1 + col]
                expected[..., channel, 4 + row, 1 + col] = 0.3 * pixel + 0.7 * patch.values[channel][row][col]
    assert torch.allclose(triggered, expected, atol=1e-15, rtol=0)
    assert torch.equal(images, before)
    assert triggered.dtype == torch.float64


def test_weight_one_covers_the_image_exactly_with_one_channel_for_all() -> None:
    patch = PatchTrigger.of_size("checker", 2, row=6, col=6, target=0)
    triggered = patch.apply(torch.full((1, 3, 8, 8), 0.3))
    assert torch.equal(triggered[0, :, 6:, 6:], torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).expand(3, 2, 2))


def test_gradients_reach_the_images_scaled_by_what_shows_through() -> None:
    images = torch.zeros(1, 1, 4, 4, requires_grad=True)
    PatchTrigger.of_size("white", 2, row=0, col=0, target=0, weight=0.75).apply(images).sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad[0, 0, :2, :2], torch.full((2, 2), 0.25))
    assert images.grad[0, 0, 2:].eq(1).all()


def test_values_of_the_kinds(generator) -> None:
    assert patch_values("white", (3, 1, 2)) == (((1.0, 1.0),),)
    assert patch_values("checker", (3, 2, 3)) == (((1.0, -1.0, 1.0), (-1.0, 1.0, -1.0)),)
    binary = np.array(patch_values("random_binary", (3, 8, 8), generator))
    assert binary.shape == (3, 8, 8)
    assert set(binary.ravel()) == {-1.0, 1.0}
    assert 60 < (binary > 0).sum() < 132
    gray = np.array(patch_values("random_gray", (1, 32, 32), generator))
    assert np.allclose((gray + 1) * 127.5, np.rint((gray + 1) * 127.5))
    assert len(np.unique(gray)) > 200
    assert np.abs(gray).max() <= 1


def test_draws_stay_within_their_ranges_and_reach_them(generator) -> None:
    ranges = PatchRanges(
        kinds=("white", "random_gray"), min_size=2, max_size=4, min_weight=0.6, max_weight=0.9, margin=1
    )
    drawn = [ranges.draw((1, 8, 10), 5, generator) for _ in range(600)]
    assert {patch.kind for patch in drawn} == {"white", "random_gray"}
    assert {patch.size for patch in drawn} == {(2, 2), (3, 3), (4, 4)}
    assert {patch.target for patch in drawn} == set(range(5))
    assert {patch.row for patch in drawn} == set(range(1, 6))
    assert {patch.col for patch in drawn} == set(range(1, 8))
    assert max(patch.row + patch.size[0] for patch in drawn) == 7
    assert max(patch.col + patch.size[1] for patch in drawn) == 9
    weights = [patch.weight for patch in drawn]
    assert 0.6 <= min(weights) < 0.62
    assert 0.88 < max(weights) <= 0.9


def test_the_largest_patch_that_fits_is_drawn(generator) -> None:
    patch = PatchRanges(min_size=8, max_size=8).draw((1, 8, 8), 2, generator)
    assert (patch.row, patch.col) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "blended"}, "kind 'blended' is no patch trigger; known: 'white', 'checker'"),
        ({"target": -1}, "target must be a label, an integer of at least 0, got -1"),
        ({"target": 1.0}, "target must be a label, an integer of at least 0, got 1.0"),
        ({"row": -1}, "row of a patch must be an integer of at least 0, got -1"),
        ({"col": 0.5}, "col of a patch must be an integer of at least 0, got 0.5"),
        ({"weight": 0.0}, "weight of a patch must be above 0 and at most 1, got 0.0"),
        ({"weight": 1.5}, "weight of a patch must be above 0 and at most 1, got 1.5"),
        ({"weight": float("nan")}, "weight of a patch must be above 0 and at most 1, got nan"),
        ({"values": [[1.0]]}, r"must be \[channels, height, width\], got a shape of \(1, 1\)"),
        ({"values": [[[1.0], [1.0, 1.0]]]}, "rows of one length"),
        ({"values": [[["white"]]]}, "must be numbers"),
        ({"values": [[[1.5]]]}, r"must lie in \[-1, 1\], got 1.5 to 1.5"),
        ({"values": [[[float("nan")]]]}, r"must lie in \[-1, 1\]"),
        ({"values": [[[0.5]]]}, "the values of a white patch are not white"),
    ],
)
def test_bad_patches_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        _patch(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": ("whit",)}, "patch kind 'whit' is unknown; did you mean 'white'?"),
        ({"kinds": ()}, "kinds of patches must not be empty"),
        ({"min_size": 5}, "1 ≤ min_size ≤ max_size, got 5 and 4"),
        ({"min_size": 0}, "1 ≤ min_size ≤ max_size, got 0 and 4"),
        ({"min_weight": 0.0}, "min_weight of a patch must be above 0"),
        ({"max_weight": 1.1}, "max_weight of a patch must be above 0 and at most 1, got 1.1"),
        ({"max_weight": 0.5}, "min_weight 0.6 is above max_weight 0.5"),
        ({"margin": -1}, "margin must be at least 0 pixels, got -1"),
    ],
)
def test_bad_ranges_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        PatchRanges(**changes)


def test_ranges_that_do_not_fit_the_images_say_both_sizes(generator) -> None:
    with pytest.raises(ZoovetError, match="up to 7 pixels with a margin of 1 do not fit images of 8 × 10"):
        PatchRanges(max_size=7, margin=1).draw((1, 8, 10), 10, generator)
    with pytest.raises(ZoovetError, match="at least two classes, got 1"):
        PatchRanges().draw((1, 8, 10), 1, generator)


def test_patch_that_leaves_the_image_says_both_sizes() -> None:
    patch = PatchTrigger.of_size("white", (2, 4), row=3, col=5, target=0)
    assert patch.apply(torch.zeros(1, 5, 9)).sum() == 8
    with pytest.raises(ZoovetError, match="2 × 4 pixels at row 3, column 5 leaves an image of 5 × 8"):
        patch.apply(torch.zeros(1, 1, 5, 8))


def test_patch_of_other_channels_is_refused(generator) -> None:
    patch = PatchTrigger.of_size("random_gray", 2, row=0, col=0, target=0, num_channels=3, generator=generator)
    with pytest.raises(ZoovetError, match="a patch of 3 channels does not fit images of 1"):
        patch.apply(torch.zeros(1, 1, 8, 8))


def test_integer_images_are_refused() -> None:
    with pytest.raises(ZoovetError, match=r"floating point images, got torch.uint8; use Images.scaled\(\)"):
        _patch().apply(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ZoovetError, match=r"\[..., C, H, W\], got a shape of \(8, 8\)"):
        _patch().apply(torch.zeros(8, 8))


@pytest.mark.parametrize("kind", [kind for kind in PATCH_KINDS if kind.startswith("random")])
def test_random_kinds_need_a_generator(kind: str) -> None:
    with pytest.raises(ZoovetError, match=f"a {kind} patch draws its pixels: give a generator"):
        PatchTrigger.of_size(kind, 2, row=0, col=0, target=0)


def test_unknown_kind_and_empty_size_are_refused() -> None:
    with pytest.raises(ZoovetError, match="patch kind 'black' is unknown"):
        patch_values("black", (1, 2, 2))
    with pytest.raises(ZoovetError, match="at least one pixel and channel, got 1 × 0 × 2"):
        patch_values("white", (1, 0, 2))
