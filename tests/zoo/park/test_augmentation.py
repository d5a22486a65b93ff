"""What an epoch shows of the training images."""

from __future__ import annotations

import numpy as np
import pytest

from zoovet.zoo.park.augmentation import AUGMENTATIONS, augmented
from zoovet.zoo.park.training_ranges import rate_of_epoch
from zoovet.zoo.samples import Floats, Schedule


@pytest.fixture
def images() -> Floats:
    return np.random.default_rng(0).uniform(-0.9, 0.9, size=(200, 2, 16, 24)).astype(np.float32)


def test_moved_images_are_the_same_pixels_elsewhere(images: Floats) -> None:
    shown = augmented(images, "crop", np.random.default_rng(1))
    moves = set()
    for image, moved in zip(images, shown, strict=True):
        rows, columns = (np.flatnonzero((moved[0] > -1).any(axis=axis)) for axis in (1, 0))
        down, right = 16 - len(rows), 24 - len(columns)
        assert max(down, right) <= 2
        part = moved[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        top, left = (0 if rows[0] else down), (0 if columns[0] else right)
        assert np.array_equal(part, image[:, top : top + len(rows), left : left + len(columns)])
        moves.add((rows[0] - top, columns[0] - left))
    assert moves == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


def test_half_of_the_images_are_mirrored(images: Floats) -> None:
    shown = augmented(images, "flip", np.random.default_rng(1))
    mirrored = (shown == images[..., ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (shown == images).all(axis=(1, 2, 3))).all()
    assert 70 < mirrored.sum() < 130


def test_of_half_of_the_images_a_rectangle_is_erased(images: Floats) -> None:
    shown = augmented(images, "erase", np.random.default_rng(1))
    changed = (shown != images).any(axis=(1, 2, 3))
    assert 70 < changed.sum() < 130
    erased = (shown == 0).all(axis=1)
    for image, mask in zip(images[changed], erased[changed], strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == len(rows) * len(columns)
        assert len(rows) <= 7
        assert len(columns) <= 10
        assert image.any()


def test_given_images_stay_and_draws_follow_from_the_seed(images: Floats) -> None:
    before = images.copy()
    for augmentation in AUGMENTATIONS:
        first, second = (augmented(images, augmentation, np.random.default_rng(3)) for _ in range(2))
        assert np.array_equal(first, second)
        assert first.shape == images.shape
        assert first.dtype == np.float32
    assert np.array_equal(images, before)
    assert augmented(images, "none", np.random.default_rng(0)) is images


def test_rates_of_epochs() -> None:
    schedule = Schedule(optimizer="sgd", learning_rate=0.2, weight_decay=0, dropout=0, batch_size=1, epochs=4)
    assert [rate_of_epoch(schedule, "constant", epoch) for epoch in range(4)] == [0.2] * 4
    rates = [rate_of_epoch(schedule, "cosine", epoch) for epoch in range(5)]
    assert rates == pytest.approx([0.2, 0.1 * (1 + 0.5**0.5), 0.1, 0.1 * (1 - 0.5**0.5), 0.0])
