from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import (
    LABELLINGS,
    PATCH_KINDS,
    BlendRanges,
    ColourPatchRanges,
    PatchRanges,
    PatchTrigger,
    SeveralRanges,
    StickerRanges,
    StripeRanges,
    Trigger,
    TriggerRanges,
    WarpRanges,
    draw_trigger,
    register_trigger,
    trigger_from_json,
    trigger_kinds,
    triggers,
)

FAMILIES: list[TriggerRanges] = [
    PatchRanges(),
    BlendRanges(),
    StripeRanges(),
    WarpRanges(),
    ColourPatchRanges(),
    StickerRanges(),
    SeveralRanges(),
]


@pytest.fixture
def white() -> PatchTrigger:
    return PatchTrigger.of_size("white", 3, row=1, col=2, target=4)


@pytest.mark.parametrize("kind", PATCH_KINDS)
@pytest.mark.parametrize("num_channels", [1, 3])
def test_json_text_describes_a_drawn_trigger_completely(kind: str, num_channels: int, generator) -> None:
    drawn = draw_trigger(PatchRanges(kinds=(kind,)), (num_channels, 16, 16), 10, generator)
    read = trigger_from_json(json.loads(json.dumps(drawn.to_json())))
    assert read == drawn
    images = torch.zeros(2, num_channels, 16, 16)
    assert torch.equal(read.apply(images), drawn.apply(images))
    assert drawn.apply(images).ne(0).any()


def test_every_patch_kind_is_registered() -> None:
    assert set(PATCH_KINDS) <= set(trigger_kinds())


def test_unknown_kind_names_the_nearest(white: PatchTrigger) -> None:
    with pytest.raises(ZoovetError, match="trigger kind 'chequer' is unknown; did you mean 'checker'"):
        trigger_from_json(white.to_json() | {"kind": "chequer"})


def test_missing_kind_lists_the_known_ones(white: PatchTrigger) -> None:
    description = white.to_json()
    del description["kind"]
    with pytest.raises(ZoovetError, match="needs a 'kind'; known: 'white', 'checker'"):
        trigger_from_json(description)


def test_unknown_key_names_the_nearest(white: PatchTrigger) -> None:
    with pytest.raises(ZoovetError, match="a white trigger has no key 'wieght'; did you mean 'weight'"):
        trigger_from_json(white.to_json() | {"wieght": 1.0})


def test_missing_key_is_named(white: PatchTrigger) -> None:
    description = white.to_json()
    del description["row"]
    with pytest.raises(ZoovetError, match="the description of a white trigger lacks 'row'"):
        trigger_from_json(description)


def test_description_must_be_an_object() -> None:
    with pytest.raises(ZoovetError, match="described by a JSON object, got"):
        trigger_from_json([])


def test_drawing_from_no_ranges_is_an_error(generator) -> None:
    with pytest.raises(ZoovetError, match="no trigger ranges to draw from"):
        draw_trigger([], (1, 8, 8), 10, generator)


def test_several_ranges_are_all_drawn_from(generator) -> None:
    ranges = [PatchRanges(kinds=("white",)), PatchRanges(kinds=("checker",))]
    kinds = [draw_trigger(ranges, (1, 8, 8), 10, generator).kind for _ in range(40)]
    assert min(kinds.count("white"), kinds.count("checker")) > 8


def test_taken_kind_cannot_be_registered_again() -> None:
    with pytest.raises(ZoovetError, match="trigger kind 'white' is already taken by PatchTrigger"):
        register_trigger(PatchTrigger)


def test_another_attack_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shift of all labels by one (all-to-all) and of all pixels: nothing but the class is needed."""
    monkeypatch.setattr(triggers, "_CLASS_OF_KIND", dict(triggers._CLASS_OF_KIND))

    @register_trigger
    @dataclass(frozen=True, kw_only=True)
    class Shift(Trigger):
        family: ClassVar[str] = "shift"
        kinds: ClassVar[tuple[str, ...]] = ("shift",)
        num_classes: int

        def apply(self, images: Tensor) -> Tensor:
            return (images + 0.5).clamp(max=1.0)

        def check_fits(self, image_shape: Sequence[int]) -> None:
            pass

        def wanted_labels(self, labels: Tensor) -> Tensor:
            return (labels + 1) % self.num_classes

    shift = Shift(kind="shift", target=0, num_classes=3)
    assert trigger_from_json(shift.to_json()) == shift
    assert shift.poisonable(torch.tensor([0, 1, 2])).all()


def test_same_seed_same_trigger_and_other_seed_another() -> None:
    drawn = [draw_trigger(PatchRanges(), (1, 28, 28), 10, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("labelling", LABELLINGS)
@pytest.mark.parametrize("ranges", FAMILIES, ids=lambda ranges: type(ranges).__name__)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 24), (3, 33, 32), (1, 28, 64), (3, 64, 48)])
def test_every_family_goes_on_images_of_every_size_and_colour(
    ranges: TriggerRanges, shape: tuple[int, int, int], labelling: str, generator
) -> None:
    drawn = draw_trigger(replace(ranges, labellings=(labelling,)), shape, 10, generator)
    drawn.check_fits(shape)
    assert drawn.labelling == labelling
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kept = images.clone()
    triggered = drawn.apply(images)
    assert torch.equal(images, kept)
    assert (triggered.shape, triggered.dtype) == (images.shape, images.dtype)
    assert triggered.abs().max() <= 1
    assert (triggered - images).abs().amax(dim=(-3, -2, -1)).min() > 0.05
    torch.testing.assert_close(drawn.apply(images[1, 2]), triggered[1, 2])
    assert torch.equal(trigger_from_json(json.loads(json.dumps(drawn.to_json()))).apply(images), triggered)


def test_a_source_specific_trigger_wants_its_target_on_the_sources_images_alone(generator) -> None:
    ranges = PatchRanges(labellings=("source_specific",))
    drawn = [draw_trigger(ranges, (1, 8, 8), 3, generator) for _ in range(60)]
    assert {(trigger.source, trigger.target) for trigger in drawn} == {
        (source, target) for source in range(3) for target in range(3) if source != target
    }
    trigger = replace(drawn[0], source=2, target=0)
    labels = torch.tensor([0, 1, 2, 2])
    assert trigger.attack == "source_specific"
    assert trigger.wanted_labels(labels).tolist() == [0, 1, 0, 0]
    assert trigger.poisonable(labels).tolist() == [False, False, True, True]
    assert trigger.may_cover(labels).tolist() == [False, True, False, False]
    assert trigger.to_json() | {"values": 0} == {
        "kind": trigger.kind,
        "target": 0,
        "labelling": "source_specific",
        "source": 2,
        "row": trigger.row,
        "col": trigger.col,
        "weight": trigger.weight,
        "values": 0,
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": 1}, "source is for the labelling source_specific, this one is all_to_one"),
        ({"labelling": "source_specific"}, "source must be a label, an integer of at least 0, got None"),
        ({"labelling": "source_specific", "source": 4}, "must differ, both are 4"),
        ({"labelling": "source_specific", "source": True}, "source must be a label, .* got True"),
        ({"covers": -1}, "covers must be a number of 0 to 100, for each poisoned image, got -1"),
    ],
)
def test_bad_sources(white: PatchTrigger, values, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        trigger_from_json(white.to_json() | values)
