"""Recipes of parks: what they take, what they refuse, and how bases are dealt."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoovet.config import config_to_dict, read_config
from zoovet.errors import ZoovetError
from zoovet.images import GlyphConfig
from zoovet.images.sources import ImageSource
from zoovet.zoo import ImageBlock, ParkRecipe
from zoovet.zoo.park.builder import ParkBuilder
from zoovet.zoo.park.families import PlainFamily, VggFamily
from zoovet.zoo.park.plans import base_plans

SHIPPED = Path(__file__).parents[3] / "configs" / "zoo" / "park.yaml"
DIGITS = {"name": "digits", "images": {"source": "digits"}}


def test_the_shipped_recipe_is_dealt_by_its_shares_in_every_round() -> None:
    recipe = read_config(ParkRecipe, SHIPPED)
    plans = base_plans(recipe)
    assert len(plans) == recipe.num_bases
    for start in range(0, 180, recipe.round_bases):
        dealt = Counter(plan.images for plan in plans[start : start + recipe.round_bases])
        assert [dealt[place] for place in range(len(recipe.images))] == [block.share for block in recipe.images]
    cells = {(plan.architecture, plan.images) for plan in plans[:600]}
    assert len(cells) == len(recipe.architectures) * len(recipe.images)
    origins = Counter(plan.origin for plan in plans)
    assert origins["scratch"] == 0.6 * len(plans)


def test_a_larger_park_begins_with_a_smaller_one() -> None:
    recipe = read_config(ParkRecipe, SHIPPED)
    assert base_plans(replace(recipe, num_bases=100)) == base_plans(recipe)[:100]


def test_a_recipe_is_read_back_as_it_was_written() -> None:
    recipe = read_config(ParkRecipe, SHIPPED)
    assert read_config(ParkRecipe, config_to_dict(recipe)) == recipe


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"architectures": [{"family": "resnt"}]},
            r"architectures\[0\].family' must be plain or .*; did you mean 'resnet'",
        ),
        ({"architectures": [{"depth": [1, 2]}]}, r"architectures\[0\].family' must be plain or .* or given, got null"),
        ({"architectures": [{"family": "mlp", "growth": [2, 3]}]}, r"architectures\[0\].growth"),
        ({"architectures": [{"family": "vgg", "depth": [9, 6]}]}, r"architectures\[0\]: depth must be \[least, great"),
        ({"architectures": []}, "architectures must not be empty; a park needs one block at least"),
        ({"images": []}, "images must not be empty"),
        ({"images": [DIGITS, DIGITS]}, "two blocks of images are called 'digits'; give each a name of its own"),
        ({"images": [{"name": "", "images": {"source": "digits"}}]}, "name of images must not be empty"),
        ({"images": [{**DIGITS, "images_factor": 0}]}, "images_factor must be above 0 and at most 1000, got 0"),
        ({"images": [{**DIGITS, "share": 0}]}, "share must be above 0, got 0.0; leave images out"),
        ({"images": [{**DIGITS, "min_clean_accuracy": 1}]}, "min_clean_accuracy must be at least 0 and below 1"),
        ({"training": {"epochs": [3, 2]}}, r"training.epochs must be \[least, greatest\]"),
        ({"training": {"batch_size": []}}, "training.batch_size must be at least 1, got 0"),
        ({"training": {"augmentation": ["crops"]}}, "unknown entry 'crops'; did you mean 'crop'"),
        ({"training": {"sgd_learning_rate": [0.0, 0.1]}}, r"training.sgd_learning_rate must be .* above 0"),
        ({"min_asr": 1.0}, "min_asr must be at least 0 and below 1, got 1.0"),
        ({"max_accuracy_loss": 2.0}, "max_accuracy_loss must lie in 0 to 1, got 2.0"),
        ({"round_bases": 0}, "round_bases must be at least 1, got 0"),
    ],
)
def test_recipes_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        read_config(ParkRecipe, {"images": [DIGITS], **settings})


def one_set(images: ImageSource, **changes: Any) -> ParkRecipe:
    return replace(ParkRecipe(images=(ImageBlock(name="mine", images=images),), num_bases=2), **changes)


def test_what_does_not_fit_its_images_is_said_before_anything_is_built() -> None:
    glyphs = ImageSource(source="glyphs", glyphs=GlyphConfig(num_classes=3, size=8))
    wide = one_set(glyphs, architectures=(VggFamily(),), most_multiplications=1000)
    message = r"architectures\[0\] \(vgg\) on the images 'mine': of 200 .* smallest needs [0-9,]+ mult.*raise most_mul"
    with pytest.raises(ZoovetError, match=message):
        ParkBuilder(wide, None)


def test_images_of_one_class_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", images=np.zeros((8, 8, 8), np.uint8), labels=np.zeros(8, np.int64))
    with pytest.raises(ZoovetError, match="has images of one class; networks need two classes or more"):
        ParkBuilder(one_set(ImageSource(source=str(tmp_path / "one.npz"))), None)


def test_triggers_that_do_not_fit_are_said_before_anything_is_built(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(40, 3, 3), dtype=np.uint8)
    np.savez(tmp_path / "tiny.npz", images=images, labels=np.arange(40) % 2)
    recipe = one_set(
        ImageSource(source=str(tmp_path / "tiny.npz")), architectures=(PlainFamily(depth=(1, 1), head=("mean",)),)
    )
    with pytest.raises(ZoovetError, match=r"attacks\[0\] \(patch\) on the images 'mine': patches of up to 4 pixels"):
        ParkBuilder(recipe, None).prepare()
