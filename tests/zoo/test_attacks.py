"""Attacks are shared out exactly, drawn for each base, written into its rows, and can be trained again from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.images import PatchRanges, StripeRanges
from zoovet.jobs import Inline
from zoovet.zoo import (
    Attackers,
    BlendAttack,
    FineTuning,
    PatchAttack,
    SourceSpecificAttack,
    StripeAttack,
    TrojanRecipe,
    WarpAttack,
    Zoo,
    build_zoo,
    rebuild_network,
)
from zoovet.zoo.attacks import shared_out
from zoovet.zoo.image_arrays import load_images
from zoovet.zoo.training import network_trainer
from zoovet.zoo.trojan_builder import train_descendants

ATTACKS = (
    PatchAttack(share=2, trigger=PatchRanges(min_size=2, max_size=3, min_weight=0.8)),
    PatchAttack(poison_rate=(0.3, 0.5), trigger=PatchRanges(min_size=3, max_size=4, labellings=("all_to_all",))),
    StripeAttack(poison_rate=(0.03, 0.05), trigger=StripeRanges(labellings=("clean_label",))),
    BlendAttack(),
    WarpAttack(),
)


@pytest.fixture(scope="module")
def attacked_zoo(tiny_recipe: TrojanRecipe, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    recipe = replace(
        tiny_recipe,
        num_bases=12,
        attacks=ATTACKS,
        attackers=Attackers(scratch_share=0.25, anchored_share=0.25, anchor=(0.05, 0.1)),
        min_asr=0.0,
    )
    return build_zoo(recipe, tmp_path_factory.mktemp("attacked") / "zoo", runner=Inline())


def test_shares_hold_to_a_place() -> None:
    places = shared_out([2, 1, 1], 41, np.random.default_rng(0))
    assert Counter(places) == {0: 20, 1: 11, 2: 10}
    assert places != sorted(places)
    assert shared_out([1.0], 3, np.random.default_rng(0)) == [0, 0, 0]
    assert shared_out([1.0, 0.0, 0.0], 5, np.random.default_rng(0)) == [0] * 5


def test_every_attack_has_its_share_and_its_poison_rate(attacked_zoo: Zoo) -> None:
    poisoned = attacked_zoo.select(attacked_zoo.column("poisoned"))
    counts = Counter(poisoned.column("attack"))
    assert counts == {"patch": 4, "all_to_all": 2, "clean_label": 2, "blend": 2, "warp": 2}
    for place in range(len(poisoned)):
        trigger = poisoned.trigger(place)
        assert trigger is not None
        assert trigger.attack == poisoned.column("attack")[place]
        assert (trigger.target is None) == (trigger.attack == "all_to_all")
        rates = {"all_to_all": (0.3, 0.5), "clean_label": (0.03, 0.05)}.get(trigger.attack, (0.1, 0.2))
        assert rates[0] <= poisoned.column("poison_rate")[place] <= rates[1]


def test_siblings_share_origin_and_attack_and_only_anchored_ones_have_an_anchor(attacked_zoo: Zoo) -> None:
    siblings = attacked_zoo.sibling_places()
    origins, anchors = attacked_zoo.column("origin"), attacked_zoo.column("anchor")
    for name in ("origin", "attack"):
        np.testing.assert_array_equal(attacked_zoo.column(name), attacked_zoo.column(name)[siblings])
    assert Counter(origins) == {"fine_tuned": 12, "scratch": 6, "anchored": 6}
    held = attacked_zoo.column("poisoned") & (origins == "anchored")
    assert ((anchors[held] >= 0.05) & (anchors[held] <= 0.1)).all()
    assert (anchors[~held] == 0).all()


@pytest.mark.parametrize("origin", ["fine_tuned", "scratch", "anchored"])
def test_networks_of_every_origin_can_be_trained_again(attacked_zoo: Zoo, origin: str) -> None:
    place = int(np.flatnonzero((attacked_zoo.column("origin") == origin) & attacked_zoo.column("poisoned"))[0])
    stored = attacked_zoo.select([place]).weights()[0].numpy()
    np.testing.assert_array_equal(rebuild_network(attacked_zoo, place), stored)


def test_an_anchor_holds_a_poisoned_network_near_its_sibling(tiny_recipe: TrojanRecipe, tmp_path: Path) -> None:
    distances = {}
    for strength in (1e-6, 10.0):
        recipe = replace(
            tiny_recipe,
            num_bases=2,
            attackers=Attackers(anchored_share=1.0, anchor=(strength, strength)),
            min_asr=0.0,
            min_clean_accuracy=0.0,
        )
        zoo = build_zoo(recipe, tmp_path / f"{strength:g}", runner=Inline())
        flat = {
            (zoo.column("base_id")[place], bool(zoo.column("poisoned")[place])): zoo.select([place]).weights()[0]
            for place in range(len(zoo))
        }
        distances[strength] = np.mean([float((flat[base, True] - flat[base, False]).norm()) for base in (0, 1)])
    assert distances[10.0] < 0.6 * distances[1e-6]


NEW_ATTACKS = [
    {"kind": "colour_patch", "trigger": {"min_share": 0.3, "max_share": 0.4}},
    {"kind": "sticker", "trigger": {"min_share": 0.4, "max_share": 0.5, "designs": ["bomb"]}},
    {"kind": "several", "trigger": {"sticker": {"min_share": 0.4, "max_share": 0.5}}},
    {"kind": "source_specific", "trigger": {"min_size": 3, "max_size": 3}, "poison_rate": [0.05, 0.06]},
]


def test_a_recipe_draws_its_attacks_from_files_of_values_and_its_rows_make_them_again(
    tiny_recipe: TrojanRecipe, tmp_path: Path
) -> None:
    read = read_config(TrojanRecipe, {"attacks": NEW_ATTACKS})
    recipe = replace(tiny_recipe, num_bases=4, attacks=read.attacks, min_asr=0.0, min_clean_accuracy=0.0)
    zoo = build_zoo(recipe, tmp_path / "zoo", runner=Inline())
    places = {str(zoo.column("attack")[place]): place for place in np.flatnonzero(zoo.column("poisoned")).tolist()}
    assert set(places) == {"colour_patch", "sticker", "several", "source_specific"}
    for attack, place in places.items():
        trigger = zoo.trigger(place)
        assert trigger is not None
        assert trigger.attack == attack
    place = places["source_specific"]
    np.testing.assert_array_equal(rebuild_network(zoo, place), zoo.select([place]).weights()[0].numpy())


def test_a_source_specific_trigger_is_learnt_for_its_source_alone(tiny_recipe: TrojanRecipe) -> None:
    recipe = replace(
        tiny_recipe,
        train_images=1400,
        test_images=0,
        finetune=FineTuning(epochs=(20, 20), learning_rate=(6e-3, 6e-3)),
        attacks=(SourceSpecificAttack(trigger=PatchRanges(min_size=3, max_size=3, labellings=("source_specific",))),),
    )
    images = load_images(recipe, None)
    made = train_descendants(recipe, images, 5, recipe.attack_plans()[0])
    assert made is not None
    draw, networks = made
    trigger = draw.trigger
    assert trigger is not None
    trainer, flat, labels = network_trainer(draw.graph), networks["trojaned"], images.test.required_labels
    triggered = trigger.apply(images.test.scaled()).contiguous().numpy()
    answers = torch.from_numpy(trainer.logits(trainer.pack(flat), triggered)).argmax(dim=1)
    is_source, is_other = labels == trigger.source, trigger.may_cover(labels)
    assert (answers[is_source] == trigger.target).double().mean() > 0.8
    assert (answers[is_other] == trigger.target).double().mean() < 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attacks": [{"kind": "path"}]}, r"attacks\[0\].kind' must be patch or .* or source_specific, got"),
        ({"attacks": [{"kind": "warp", "share": 0}]}, r"attacks\[0\]: share must be above 0, got 0"),
        ({"attacks": [{"kind": "warp", "poison_rate": [0.5, 1.5]}]}, r"poison_rate must be .* at most 1.0"),
        ({"attacks": [{"kind": "warp", "trigger": {"min_amplitude": 1.0}}]}, "min_amplitude"),
        ({"attackers": {"scratch_share": 0.8, "anchored_share": 0.4}}, "must be at least 0 and sum to at most 1"),
        ({"attackers": {"anchor": [0.0, 1.0]}}, r"attackers.anchor must be \[least, greatest\], above 0"),
    ],
)
def test_attacks_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        read_config(TrojanRecipe, settings)
