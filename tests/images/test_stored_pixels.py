"""Pixels that stay where they lie: chosen, changed and joined ones are those of the same tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from zoovet.images import Images, stored_pixels
from zoovet.images.stored_pixels import ArrayPixels, ChosenPixels, JoinedPixels, in_memory_if_small

NOISE = np.random.default_rng(0).integers(256, size=(600, 4, 5, 3), dtype=np.uint8)
TENSOR = torch.from_numpy(NOISE).permute(0, 3, 1, 2)


@pytest.fixture
def stored() -> Images:
    return Images(pixels=ArrayPixels(NOISE), labels=torch.arange(600) % 7)


def test_small_pixels_are_read_at_once_and_large_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.equal(in_memory_if_small(ArrayPixels(NOISE)), TENSOR)
    monkeypatch.setattr(stored_pixels, "MOST_IN_MEMORY", NOISE.size - 1)
    kept = ArrayPixels(NOISE)
    assert in_memory_if_small(kept) is kept


def test_stored_images_are_the_same_as_those_in_memory(stored: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_pixels, "MOST_IN_MEMORY", 0)
    held = Images(pixels=TENSOR, labels=torch.arange(600) % 7)
    mask = torch.arange(600) % 3 == 0
    for change in (
        lambda images: images[10:300],
        lambda images: images[mask],
        lambda images: images[mask][torch.tensor([5, 0, 5])],
        lambda images: images.grayscale().in_colour().resized((7, 3)),
        lambda images: Images.joined([images[mask], images[:20]]),
        lambda images: Images.joined([images, Images(pixels=TENSOR, labels=torch.zeros(600).long())])[590:610],
    ):
        one, other = change(stored), change(held)
        assert not isinstance(one.stored, torch.Tensor)
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.required_labels, other.required_labels)
        assert (len(one), one.shape) == (len(other), other.shape)
    assert torch.equal(stored.scaled(), held.scaled())
    assert [len(part) for part in stored.parts(250)] == [250, 250, 100]
    assert torch.equal(torch.cat([part.pixels for part in stored.parts(250)]), TENSOR)


def test_only_what_is_asked_for_is_read(stored: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = ArrayPixels.read

    def noted(self: ArrayPixels, places):
        read.extend(places.tolist())
        return original(self, places)

    monkeypatch.setattr(ArrayPixels, "read", noted)
    assert stored.grayscale().changed(name="gray").shape == (1, 4, 5)
    assert read == list(range(600))  # it is small, so it is read once it is changed
    read.clear()
    monkeypatch.setattr(stored_pixels, "MOST_IN_MEMORY", 400)
    some = stored.grayscale().changed(name="gray")[torch.tensor([3, 1])]
    assert read == [3, 1]
    assert some.name == "gray"
    assert isinstance(some.stored, torch.Tensor)
    assert torch.equal(replace(stored, name="all").pixels, TENSOR)


def test_parts_are_read_from_where_they_lie() -> None:
    joined = JoinedPixels([TENSOR[:2], ChosenPixels(ArrayPixels(NOISE), np.array([9, 8, 7])), ArrayPixels(NOISE)])
    assert joined.shape == (605, 3, 4, 5)
    places = np.array([604, 3, 0, 5, 1])
    assert torch.equal(joined.read(places), TENSOR[[599, 8, 0, 0, 1]])
