"""Recipes are checked when they are made, and draw within their ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.images.sources import ImageSource
from zoovet.zoo import Attackers, BlendAttack, PatchAttack, SplitShares, TrojanRecipe


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bases": 0}, "num_bases must be at least 1, got 0"),
        ({"num_bases": 10**12}, "num_bases must be at most 10,000,000, got 1,000,000,000,000"),
        ({"channels": []}, "channels must be positive"),
        ({"channels": [10**6, 10**6]}, "channels must be at most 64 numbers of .*, got 2 of up to 1,000,000;"),
        ({"channels": [1] * 65}, "channels must be at most 64 numbers of at most 4,096 each, got 65 of up to 1;"),
        ({"activations": []}, "activations must not be empty"),
        ({"activations": ["rlu"]}, "activation 'rlu' is unknown; did you mean 'relu'"),
        ({"min_asr": 1.0}, "min_asr must be at least 0 and below 1, got 1.0"),
        ({"base": {"inits": ["hee"]}}, "base.inits has the unknown entry 'hee'; did you mean 'he'"),
        ({"base": {"optimizers": []}}, "base.optimizers must not be empty"),
        ({"base": {"dropout": [0.5, 0.2]}}, r"base.dropout must be \[least, greatest\], at least 0 and at most 0.9"),
        ({"base": {"weight_decay": [0.0, 0.1]}}, r"base.weight_decay must be \[least, greatest\], above 0, got"),
        ({"finetune": {"poison_rate": [0.5, 1.5]}}, "finetune.poison_rate must be .* at most 1.0"),
        ({"split": {"train": 0.9}}, "split shares must be at least 0 and sum to 1"),
        ({"num_base": 3}, "num_base.*did you mean 'num_bases'"),
        ({"num_bases": "many"}, "num_bases"),
    ],
)
def test_recipes_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        read_config(TrojanRecipe, settings)


def test_draws_lie_in_their_ranges_and_fill_them() -> None:
    recipe, generator = TrojanRecipe(), np.random.default_rng(0)
    drawn = [recipe.base.draw(recipe.batch_size, generator) for _ in range(300)]
    assert {one.init for one in drawn} == set(recipe.base.inits)
    for one in drawn:
        rates = recipe.base.sgd_learning_rate if one.schedule.optimizer == "sgd" else recipe.base.adaptive_learning_rate
        assert rates[0] <= one.schedule.learning_rate <= rates[1]
        assert recipe.base.init_std[0] <= one.init_std <= recipe.base.init_std[1]
        assert 0.5 <= one.train_fraction <= 1.0
    logarithms = np.log10([one.schedule.weight_decay for one in drawn])
    assert -5.8 < logarithms.mean() < -5.2
    attack = recipe.attack_plans()[0].attack
    assert {recipe.draw_finetuning(attack, generator)[0].epochs for _ in range(50)} == {4, 5, 6}


def test_split_shares_hold_to_a_base() -> None:
    names = SplitShares(train=0.6, validation=0.15, test=0.25).of_bases(200, np.random.default_rng(0))
    assert [names.count(name) for name in ("train", "validation", "test")] == [120, 30, 50]
    assert names != sorted(names)


def test_a_larger_zoo_begins_with_the_smaller_one() -> None:
    """What training and validation bases of the smaller zoo chose is fair on the larger one's test bases."""
    small, large = (
        TrojanRecipe(
            num_bases=count,
            attacks=(PatchAttack(share=3), BlendAttack()),
            attackers=Attackers(scratch_share=0.2, anchored_share=0.1),
        )
        for count in (1500, 3700)
    )
    shares = SplitShares(train=0.5, validation=0.1, test=0.4)
    splits = [shares.of_bases(recipe.num_bases, np.random.default_rng(3)) for recipe in (small, large)]
    assert splits[1][:1500] == splits[0]
    assert large.attack_plans()[:1500] == small.attack_plans()
    for first, last in ((0, 1500), (1500, 3000), (3000, 3700)):
        dealt = splits[1][first:last]
        assert dealt.count("test") == 0.4 * len(dealt)
        kinds = [plan.attack.kind for plan in large.attack_plans()[first:last]]
        assert kinds.count("blend") == len(dealt) / 4
    assert splits[1][1500:3000] != splits[0]


def test_images_of_another_origin_name_the_dataset() -> None:
    source = ImageSource(source="some/photos/", size=(16, 16))
    assert TrojanRecipe(images=source).dataset == "photos"
    given = read_config(TrojanRecipe, {"images": {"source": "some/photos/", "size": [16, 16]}, "dataset": "photos"})
    assert given.images == source
    assert read_config(TrojanRecipe, {}).images is None
    with pytest.raises(ZoovetError, match=r"dataset is 'digits' and images\.source 'some/photos/'; give one of them"):
        TrojanRecipe(images=source, dataset="digits")
    with pytest.raises(ZoovetError, match="size of images must be"):
        read_config(TrojanRecipe, {"images": {"source": "a", "size": [0, 1]}})
