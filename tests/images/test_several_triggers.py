"""Several triggers for one target: each image gets one, always the same; JSON, bad values."""

from __future__ import annotations

import json

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import PatchRanges, PatchTrigger, SeveralRanges, SeveralTriggers, trigger_from_json

LEFT = PatchTrigger.of_size("white", 2, row=0, col=0, target=1)
RIGHT = PatchTrigger.of_size("white", 2, row=0, col=6, target=1)
BELOW = PatchTrigger.of_size("checker", 2, row=6, col=6, target=1)


@pytest.fixture
def several() -> SeveralTriggers:
    return SeveralTriggers(kind="several", target=1, parts=(LEFT, RIGHT, BELOW))


@pytest.mark.parametrize("binary", [False, True])
def test_each_image_gets_one_of_them_whatever_stands_beside_it(several: SeveralTriggers, binary: bool) -> None:
    levels = torch.randint(256, (600, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    images = (255 * (levels > 127) if binary else levels).float() / 127.5 - 1
    triggered, which = several.apply(images), several.which(images)
    for place, part in enumerate(several.parts):
        assert torch.equal(triggered[which == place], part.apply(images[which == place]))
    assert which.bincount(minlength=3).min() > 150
    assert torch.equal(several.apply(images[5:9]), triggered[5:9])
    assert torch.equal(several.apply(images[7]), triggered[7])
    assert torch.equal(several.which(images.double()), which)


def test_json_text_describes_them_completely(generator) -> None:
    for labelling in ("all_to_one", "all_to_all", "clean_label", "source_specific"):
        drawn = SeveralRanges(labellings=(labelling,)).draw((3, 32, 24), 10, generator)
        read = trigger_from_json(json.loads(json.dumps(drawn.to_json())))
        assert read == drawn
        assert {part.labelling for part in read.parts} == {labelling}
        images = torch.rand(4, 3, 32, 24) * 2 - 1
        assert torch.equal(read.apply(images), drawn.apply(images))


def test_labellings_of_the_single_triggers_are_not_looked_at(generator) -> None:
    drawn = SeveralRanges(patch=PatchRanges(labellings=("source_specific",))).draw((3, 32, 24), 10, generator)
    assert {part.source for part in drawn.parts} == {None}


def test_numbers_and_families_of_triggers_vary(generator) -> None:
    drawn = [SeveralRanges(max_parts=4).draw((3, 32, 32), 10, generator) for _ in range(40)]
    assert {len(several.parts) for several in drawn} == {2, 3, 4}
    assert {part.family for several in drawn for part in several.parts} == {"patch", "colour_patch", "sticker"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parts": [LEFT.to_json()]}, "parts must be 2 to 8 triggers, got 1"),
        ({"parts": 3}, "parts must be 2 to 8 triggers, got 0"),
        ({"parts": [LEFT.to_json(), 3]}, "parts must be 2 to 8 triggers"),
        ({"target": 2}, "parts must have the whole's target, 2; that of white is 1"),
        ({"parts": [{"kind": "white"}, LEFT.to_json()]}, "the description of a white trigger lacks"),
    ],
)
def test_bad_descriptions(several: SeveralTriggers, values, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        trigger_from_json(several.to_json() | values)


def test_no_several_in_several_and_none_that_does_not_fit(several: SeveralTriggers) -> None:
    with pytest.raises(ZoovetError, match="must be single triggers, got several again"):
        SeveralTriggers(kind="several", target=1, parts=(LEFT, several))
    with pytest.raises(ZoovetError, match="leaves an image of 8 × 7"):
        several.apply(torch.zeros(3, 8, 7))
    with pytest.raises(ZoovetError, match="2 ≤ min_parts ≤ max_parts ≤ 8, got 1 and 3"):
        SeveralRanges(min_parts=1)
