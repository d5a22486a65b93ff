"""Recipes of generalization zoos are checked when they are made, and the shipped ones can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.zoo import GeneralizationRecipe

CONFIGS = Path(__file__).parents[2] / "configs" / "zoo"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bases": 0}, "num_bases must be at least 1, got 0"),
        ({"measured_train_images": 0}, "measured_train_images must be at least 1, got 0"),
        ({"bases_per_shard": -1}, "bases_per_shard must be at least 1, got -1"),
        ({"test_images": -1}, "test_images must be at least 0, got -1"),
        ({"channels": [16, 0]}, r"channels must be positive, .*got \[16, 0\]"),
        ({"activations": []}, "activations must not be empty"),
        ({"activations": ["tan"]}, "activation 'tan' is unknown; did you mean 'tanh'"),
        ({"base": {"optimizers": ["adamw"]}}, "base.optimizers has the unknown entry 'adamw'; did you mean 'adam'"),
        ({"base": {"train_fraction": [0.5, 1.5]}}, "base.train_fraction must be .* at most 1.0"),
        ({"checkpoints": []}, r"checkpoints must be epochs from 0 to base.epochs = 8, at least one, .* got \[\]"),
        ({"checkpoints": [1, 9]}, r"checkpoints must be epochs from 0 to base.epochs = 8, .* got \[1, 9\]"),
        ({"checkpoints": [-1, 2]}, r"checkpoints must be epochs from 0 .* got \[-1, 2\]"),
        ({"checkpoints": [2, 1]}, r"each once and ascending, got \[2, 1\]"),
        ({"checkpoints": [2, 2]}, r"each once and ascending, got \[2, 2\]"),
        ({"checkpoint": [1]}, "checkpoint.*did you mean 'checkpoints'"),
    ],
)
def test_recipes_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        read_config(GeneralizationRecipe, settings)


def test_what_a_recipe_leaves_out_of_the_training_stays_wide() -> None:
    recipe = read_config(GeneralizationRecipe, {"base": {"epochs": 12}, "checkpoints": [0, 12]})
    assert recipe.base.epochs == 12
    assert recipe.base.train_fraction == GeneralizationRecipe().base.train_fraction == (0.1, 1.0)


@pytest.mark.parametrize("dataset", ["cifar10", "svhn"])
def test_shipped_recipes_hold_a_thousand_trainings_of_both_activations(dataset: str) -> None:
    recipe = read_config(GeneralizationRecipe, CONFIGS / f"{dataset}-generalization.yaml")
    assert recipe.dataset == dataset
    assert recipe.num_bases >= 1000
    assert len(recipe.checkpoints) >= 3
    assert recipe.num_networks == recipe.num_bases * len(recipe.checkpoints)
    assert recipe.activations == ("relu", "tanh")
