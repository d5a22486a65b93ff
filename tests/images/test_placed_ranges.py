"""Sizes and places of triggers that stand somewhere: shares of the image, corners, bad values."""

from __future__ import annotations

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.images import ColourPatchRanges


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 28, 20), (3, 64, 48)])
def test_sides_are_shares_of_the_shorter_one_and_reach_both_ends(shape, generator) -> None:
    ranges = ColourPatchRanges(min_share=0.2, max_share=0.5)
    shorter = min(shape[1:])
    sides = {ranges.draw_side(shape, generator) for _ in range(300)}
    assert (min(sides), max(sides)) == (round(0.2 * shorter), round(0.5 * shorter))


def test_a_side_never_leaves_the_image(generator) -> None:
    assert {ColourPatchRanges(max_share=1.0).draw_side((3, 2, 9), generator) for _ in range(20)} == {2}


def test_corners_have_their_share_and_others_stand_anywhere(generator) -> None:
    corners = {(0, 0), (0, 16), (26, 0), (26, 16)}

    def places(share: float) -> list[tuple[int, int]]:
        ranges = ColourPatchRanges(corner_share=share)
        drawn = [ranges.draw_place((3, 30, 20), (4, 4), 10, generator) for _ in range(400)]
        return [(one["row"], one["col"]) for one in drawn]

    assert set(places(1.0)) == corners
    anywhere = np.array(places(0.0))
    assert anywhere.min(axis=0).tolist() == [0, 0]
    assert anywhere.max(axis=0).tolist() == [26, 16]
    assert 140 < sum(place in corners for place in places(0.5)) < 260


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_share": 0.0}, r"0 < min_share ≤ max_share ≤ 1, got 0\.0 and 0\.22"),
        ({"min_weight": 0.9, "max_weight": 0.8}, r"0 < min_weight ≤ max_weight ≤ 1, got 0\.9 and 0\.8"),
        ({"corner_share": 1.5}, r"corner_share must lie in \[0, 1\], got 1\.5"),
    ],
)
def test_bad_ranges(settings, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        ColourPatchRanges(**settings)
