"""Recipes of INR zoos refuse what makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.networks import siren
from zoovet.zoo import InrRecipe

CONFIGS = Path(__file__).parents[2] / "configs" / "zoo"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"num_copies": 0}, "num_copies must be at least 1, got 0"),
        ({"images_per_shard": 0}, "images_per_shard must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"num_images": 0}, "num_images must be at least 1, got 0"),
        ({"image_splits": []}, r"image_splits must name train, test or both, each once, got \[\]"),
        ({"image_splits": ["train", "train"]}, r"each once, got \['train', 'train'\]"),
        ({"image_splits": ["validation"]}, r"'image_splits\[0\]' must be train or test"),
        ({"hidden": []}, r"hidden must be positive, one number a hidden layer, got \[\]"),
        ({"hidden": [32, 0]}, r"got \[32, 0\]"),
        ({"image_size": [28, 0]}, r"image_size must be two positive numbers, got \[28, 0\]"),
        ({"w0": 0}, r"w0 must be above 0, got 0\.0"),
        ({"learning_rate": float("nan")}, "'learning_rate' must be a number, got nan; it must be finite"),
        ({"schedule": "linear"}, "'schedule' must be constant or cosine, got 'linear'"),
        ({"augmentation": {"max_shift": -1}}, r"augmentation\.max_shift must be at least 0, got -1"),
        ({"split": {"train": 0.9}}, "split shares must be at least 0 and sum to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        read_config(InrRecipe, changes)


def test_the_spec_is_a_siren() -> None:
    assert InrRecipe(hidden=(16, 8), w0=20.0).graph(3) == siren((2, 16, 8, 3), 20.0)


@pytest.mark.parametrize(
    ("name", "dataset", "num_copies"),
    [
        ("fashion-mnist-inr", "fashion-mnist", 1),
        ("mnist-inr", "mnist", 1),
        ("cifar10-inr", "cifar10", 1),
        ("cifar10-aug-inr", "cifar10", 20),
    ],
)
def test_shipped_recipes_are_read(name: str, dataset: str, num_copies: int) -> None:
    recipe = read_config(InrRecipe, CONFIGS / f"{name}.yaml")
    assert (recipe.dataset, recipe.num_copies) == (dataset, num_copies)
    assert (recipe.hidden, recipe.w0) == ((32, 32), 30.0)
    assert (recipe.num_images or 60_000) >= 8_000
