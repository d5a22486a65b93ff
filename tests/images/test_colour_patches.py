"""Patches of two colours: what fills them, that they differ, JSON, bad values."""

from __future__ import annotations

import json

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import COLOUR_PATCH_KINDS, ColourPatchRanges, trigger_from_json


def _drawn(kind: str, shape, generator):
    ranges = ColourPatchRanges(kinds=(kind,), min_share=0.25, max_share=0.25, min_weight=1.0)
    return ranges.draw(shape, 10, generator)


@pytest.mark.parametrize("kind", COLOUR_PATCH_KINDS)
@pytest.mark.parametrize("num_channels", [1, 3])
def test_json_describes_it_completely_and_its_colours_differ(kind: str, num_channels: int, generator) -> None:
    trigger = _drawn(kind, (num_channels, 24, 32), generator)
    assert trigger_from_json(json.loads(json.dumps(trigger.to_json()))) == trigger
    assert trigger.attack == "colour_patch"
    values = torch.tensor(trigger.values)
    assert values.shape == (num_channels, 6, 6)
    assert (values.amax(dim=(1, 2)) - values.amin(dim=(1, 2))).max() > 0.99
    levels = (values + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


def test_each_kind_is_filled_as_it_says(generator) -> None:
    def grid(kind: str) -> torch.Tensor:
        return torch.tensor(_drawn(kind, (1, 24, 24), generator).values)[0]

    checker, halves, frame, gradient = map(grid, COLOUR_PATCH_KINDS)
    assert torch.equal(checker[1:], checker[:-1].flip(1))
    assert (checker[0, ::2] != checker[0, 1::2]).all()
    assert len(halves[:, :3].unique()) == len(halves[:, 3:].unique()) == 1
    assert halves[0, 0] != halves[0, 5]
    assert len(frame[1:-1, 1:-1].unique()) == 1
    assert len(torch.cat([frame[0], frame[-1], frame[:, 0], frame[:, -1]]).unique()) == 1
    assert frame[0, 0] != frame[2, 2]
    steps = gradient[:, 1:] - gradient[:, :-1]
    assert (steps * steps[0, 0].sign() > 0).all()
    assert torch.equal(gradient, gradient[:1].expand(6, 6))


def test_unknown_kinds_are_named() -> None:
    with pytest.raises(ZoovetError, match="colour patch kind 'colour_frames' is unknown; did you mean 'colour_frame'"):
        ColourPatchRanges(kinds=("colour_frames",))
    with pytest.raises(ZoovetError, match="kinds of colour patches must not be empty; known: 'colour_checker'"):
        ColourPatchRanges(kinds=())
