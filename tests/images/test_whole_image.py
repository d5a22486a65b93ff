"""Triggers that change the whole image, and labellings: what they do to known images, JSON, bad values."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import (
    BlendRanges,
    BlendTrigger,
    Images,
    PatchRanges,
    PatchTrigger,
    StripeRanges,
    StripeTrigger,
    TriggerRanges,
    WarpRanges,
    WarpTrigger,
    draw_trigger,
    poison,
    trigger_from_json,
    triggered_test,
)

FAMILIES: list[TriggerRanges] = [BlendRanges(), StripeRanges(), WarpRanges()]
STILL = ((0.5, -0.5), (0.5, -0.5))


@pytest.mark.parametrize("ranges", FAMILIES)
@pytest.mark.parametrize("num_channels", [1, 3])
def test_json_describes_a_drawn_trigger_completely(ranges: TriggerRanges, num_channels: int, generator) -> None:
    drawn = draw_trigger(ranges, (num_channels, 12, 10), 10, generator)
    read = trigger_from_json(json.loads(json.dumps(drawn.to_json())))
    assert read == drawn
    images = torch.rand(4, num_channels, 12, 10, generator=torch.Generator().manual_seed(0)) * 2 - 1
    triggered = read.apply(images)
    assert triggered.shape == images.shape
    assert triggered.dtype == images.dtype
    assert torch.equal(triggered, drawn.apply(images))
    assert triggered.abs().max() <= 1
    assert not torch.allclose(triggered, images, atol=0.01)


@pytest.mark.parametrize("ranges", FAMILIES)
def test_integers_are_refused(ranges: TriggerRanges, generator) -> None:
    with pytest.raises(ZoovetError, match=r"floating point images, got torch\.uint8"):
        draw_trigger(ranges, (1, 8, 8), 10, generator).apply(torch.zeros(1, 8, 8, dtype=torch.uint8))


def test_a_blend_moves_each_pixel_towards_the_pattern() -> None:
    trigger = BlendTrigger(kind="noise_blend", target=1, weight=0.25, pattern=((0, 255), (255, 0)))
    triggered = trigger.apply(torch.zeros(2, 1, 2, 2, dtype=torch.float64))
    expected = torch.tensor([[-0.25, 0.25], [0.25, -0.25]], dtype=torch.float64)
    torch.testing.assert_close(triggered, expected.expand(2, 1, 2, 2))


def test_a_blend_of_another_size_is_refused() -> None:
    trigger = BlendTrigger(kind="noise_blend", target=1, weight=0.25, pattern=((0, 255), (255, 0)))
    with pytest.raises(ZoovetError, match="a pattern of 2 × 2 pixels does not cover images of 4 × 3"):
        trigger.apply(torch.zeros(1, 4, 3))


def test_vertical_stripes_vary_along_columns_only_and_are_clipped() -> None:
    trigger = StripeTrigger(kind="stripes", target=0, amplitude=2.0, frequency=1.0, angle=0.0, phase=0.0)
    triggered = trigger.apply(torch.zeros(1, 3, 8, dtype=torch.float64))
    wave = [max(-1.0, min(1.0, 2 * math.sin(2 * math.pi * column / 8))) for column in range(8)]
    torch.testing.assert_close(triggered[0], torch.tensor(wave, dtype=torch.float64).expand(3, 8))


def test_a_warp_with_one_direction_shifts_the_image() -> None:
    even = (((0.5, 0.5), (0.5, 0.5)), ((0.0, 0.0), (0.0, 0.0)))
    trigger = WarpTrigger(kind="warp", target=0, strength=0.5, control=even)
    images = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # The mean absolute value of the field is 0.25, so the movement along x is 0.5 · 0.5 / 0.25 = 1 pixel.
    torch.testing.assert_close(trigger.apply(images)[..., :-1], images[..., 1:])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strength": 0.0}, "strength of a warp must be a number of pixels above 0"),
        ({"control": (STILL,)}, r"control of a warp must be numbers in \[-1, 1\]"),
        ({"control": ((2.0,), STILL)}, "control of a warp must be numbers"),
    ],
)
def test_bad_warps(values, message: str) -> None:
    good = {"kind": "warp", "target": 0, "strength": 1.0, "control": (STILL, STILL)}
    with pytest.raises(ZoovetError, match=message):
        WarpTrigger(**{**good, **values})


@pytest.mark.parametrize("values", [{"amplitude": 0.0}, {"frequency": -1.0}, {"phase": math.nan}])
def test_bad_stripes(values) -> None:
    good = {"kind": "stripes", "target": 0, "amplitude": 1.0, "frequency": 2.0, "angle": 0.0, "phase": 0.0}
    with pytest.raises(ZoovetError, match="stripes"):
        StripeTrigger(**{**good, **values})


@pytest.mark.parametrize("pattern", [((0, 300),), ((0.5,),), ((1, 2), (3,)), ()])
def test_bad_patterns(pattern) -> None:
    with pytest.raises(ZoovetError, match="pattern"):
        BlendTrigger(kind="noise_blend", target=0, weight=0.5, pattern=pattern)


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ZoovetError, match=r"0 < min_strength ≤ max_strength, got 2\.0 and 1\.0"):
        WarpRanges(min_strength=2.0, max_strength=1.0)


@pytest.fixture
def noise() -> Images:
    pixels = torch.randint(256, (100, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Images(name="noise", pixels=pixels, labels=torch.arange(100) % 10, num_classes=10)


def test_all_to_all_moves_every_label_by_one(noise: Images, generator) -> None:
    trigger = draw_trigger(PatchRanges(labellings=("all_to_all",)), (1, 8, 8), 10, generator)
    assert (trigger.target, trigger.num_classes, trigger.attack) == (None, 10, "all_to_all")
    assert trigger_from_json(json.loads(json.dumps(trigger.to_json()))) == trigger
    poisoned = poison(noise, trigger, 0.3, generator)
    assert poisoned.mask.sum() == 30
    assert torch.equal(poisoned.labels[poisoned.mask], (noise.labels[poisoned.mask] + 1) % 10)
    assert len(triggered_test(noise, trigger).labels) == 100


def test_clean_label_poisons_the_targets_own_images_and_keeps_their_labels(noise: Images, generator) -> None:
    trigger = draw_trigger(StripeRanges(labellings=("clean_label",)), (1, 8, 8), 10, generator)
    assert trigger.attack == "clean_label"
    poisoned = poison(noise, trigger, 0.08, generator)
    assert poisoned.mask.sum() == 8
    assert (noise.labels[poisoned.mask] == trigger.target).all()
    assert torch.equal(poisoned.labels, noise.labels)
    assert (triggered_test(noise, trigger).labels != trigger.target).all()
    with pytest.raises(ZoovetError, match="only 10 may be poisoned by this clean_label trigger"):
        poison(noise, trigger, 0.2, generator)


def test_all_to_one_is_left_out_of_the_description() -> None:
    trigger = PatchTrigger.of_size("white", 2, row=0, col=0, target=3)
    assert set(trigger.to_json()) == {"kind", "target", "row", "col", "weight", "values"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labelling": "all_to_al"}, "labelling 'all_to_al' is unknown; did you mean 'all_to_all'"),
        ({"labelling": "all_to_all"}, "has no target"),
        ({"target": None}, "target must be a label"),
    ],
)
def test_bad_labellings(values, message: str) -> None:
    good = PatchTrigger.of_size("white", 2, row=0, col=0, target=3).to_json()
    with pytest.raises(ZoovetError, match=message):
        trigger_from_json(good | values)


def test_labellings_of_ranges_are_drawn(generator: np.random.Generator) -> None:
    ranges = PatchRanges(labellings=("all_to_one", "clean_label"))
    attacks = {draw_trigger(ranges, (1, 8, 8), 10, generator).attack for _ in range(30)}
    assert attacks == {"patch", "clean_label"}
    with pytest.raises(ZoovetError, match="labelling 'dirty' is unknown"):
        draw_trigger(PatchRanges(labellings=("dirty",)), (1, 8, 8), 10, generator)
