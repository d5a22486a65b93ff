"""Patches at fixed places: where they stand, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import FixedPatchRanges, PatchTrigger, trigger_from_json


def drawn(ranges: FixedPatchRanges, shape: tuple[int, int, int] = (3, 20, 24), count: int = 60) -> list[PatchTrigger]:
    return [ranges.draw(shape, 10, np.random.default_rng(seed)) for seed in range(count)]


def test_patches_stand_in_corners_on_edges_and_in_the_middle() -> None:
    for place, fits in {
        "corner": lambda row, col: row in (0, 1, 16, 17) and col in (0, 1, 20, 21),
        "edge": lambda row, col: row in (0, 1, 16, 17) or col in (0, 1, 20, 21),
        "middle": lambda row, col: (row, col) == (8, 10),
    }.items():
        triggers = drawn(FixedPatchRanges(places=(place,), min_size=3, max_size=3))
        assert all(fits(trigger.row, trigger.col) for trigger in triggers)
        assert len({(trigger.row, trigger.col) for trigger in triggers}) > 3 or place == "middle"
    corners = drawn(FixedPatchRanges(places=("corner",), min_size=3, max_size=3, max_margin=0))
    assert {(trigger.row, trigger.col) for trigger in corners} == {(0, 0), (0, 21), (17, 0), (17, 21)}


def test_a_plain_patch_is_of_one_colour_and_is_read_back() -> None:
    for trigger in drawn(FixedPatchRanges(kinds=("plain",)), count=10):
        assert all(len({value for row in channel for value in row}) == 1 for channel in trigger.values)
        assert len(trigger.values) == 3
        assert trigger_from_json(trigger.to_json()) == trigger
        shown = trigger.apply(torch.zeros(2, 3, 20, 24))
        assert torch.equal(shown[0, :, trigger.row, trigger.col], torch.tensor([one[0][0] for one in trigger.values]))


def test_every_kind_size_and_class_occurs() -> None:
    triggers = drawn(FixedPatchRanges())
    assert {trigger.kind for trigger in triggers} == {"white", "checker", "plain", "random_binary"}
    assert {trigger.size[0] for trigger in triggers} == {2, 3, 4, 5}
    assert len({trigger.target for trigger in triggers}) > 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ("wite",)}, "patch kind 'wite' is unknown; did you mean 'white'"),
        ({"kinds": ()}, "kinds of patches must not be empty; known: 'white'"),
        ({"places": ("corners",)}, "patch place 'corners' is unknown; did you mean 'corner'"),
        ({"min_size": 5, "max_size": 3}, "patch sizes need 1 ≤ min_size ≤ max_size, got 5 and 3"),
        ({"max_margin": -1}, "max_margin must be at least 0 pixels, got -1"),
    ],
)
def test_ranges_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        FixedPatchRanges(**settings)


def test_patches_that_are_larger_than_the_images() -> None:
    with pytest.raises(ZoovetError, match="patches of up to 5 pixels with margins of 1 do not fit images of 6 × 24"):
        FixedPatchRanges().draw((1, 6, 24), 10, np.random.default_rng(0))
