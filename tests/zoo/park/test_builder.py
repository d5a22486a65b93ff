"""A park is the same however it is built, and each network can be made again from its row."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import PatchRanges
from zoovet.networks import run
from zoovet.zoo import Attackers, ParkRecipe, PatchAttack, Zoo, build_zoo, rebuild_network
from zoovet.zoo.builders import recipe_of
from zoovet.zoo.park.builder import ParkBuilder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_row_says_all_that_is_known(park: Zoo, park_recipe: ParkRecipe) -> None:
    assert set(park.column("family")) == {"plain", "mlp"}
    assert set(park.column("dataset")) == {"digits", "colored digits"}
    assert set(park.column("origin")) == {"scratch", "fine_tuned", "anchored"}
    for place in range(len(park)):
        graph, text = park.graphs[park.column("spec_id")[place]], park.column("architecture")[place]
        assert graph.input_shape[0] == (1 if park.column("dataset")[place] == "digits" else 3)
        assert json.loads(text)["activation"] == park.column("activation")[place]
        assert graph.input_scaling is not None
        assert (park.column("finetune_epochs")[place] == -1) == (park.column("origin")[place] == "scratch")
        assert (park.column("poison_rate")[place] > 0) == park.column("poisoned")[place]
    assert recipe_of(park.recipe) == park_recipe
    assert park.column("poisoned").tolist() == [False, True] * 5
    assert (park.column("asr")[park.column("poisoned")] >= park_recipe.min_asr).all()
    assert (park.column("clean_accuracy") >= 0.27).all()


def test_networks_answer_as_their_rows_say(park: Zoo, park_recipe: ParkRecipe) -> None:
    builder = ParkBuilder(park_recipe, None)
    for networks, places in park.batches_by_graph():
        for index, place in enumerate(places):
            (test,) = (
                image_set.test
                for block, image_set in zip(park_recipe.images, builder.image_sets, strict=True)
                if block.name == park.column("dataset")[place]
            )
            scaling = networks.graph.input_scaling
            assert scaling is not None
            answers = run(networks, scaling.apply(test.pixels))[index].argmax(dim=1)
            accuracy = float((answers == test.required_labels).double().mean())
            assert accuracy == pytest.approx(park.column("clean_accuracy")[place], abs=0.011)


def test_the_same_bytes_on_resume_and_with_other_workers(park: Zoo, park_recipe: ParkRecipe, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    shutil.copytree(park.path, begun)
    (begun / "shard-00001.parquet").unlink()
    info = json.loads((begun / "zoo.json").read_text())
    info["shards"] = [shard for shard in info["shards"] if shard["name"] != "shard-00001.parquet"]
    (begun / "zoo.json").write_text(json.dumps(info))
    with pytest.raises(ZoovetError, match="is not finished: 2 of 3 shards are there"):
        Zoo.open(begun)
    assert Zoo.open(begun, finished_only=True).column("base_id").tolist() == [0, 0, 1, 1, 4, 4]
    build_zoo(park_recipe, begun, workers=2)
    assert contents(begun) == contents(park.path)


def test_a_network_is_made_again_from_its_row(park: Zoo) -> None:
    place = int(np.flatnonzero(park.column("origin") == "anchored")[0]) + 1
    assert park.column("poisoned")[place]
    assert np.array_equal(rebuild_network(park, place), park.select([place]).weights()[0].numpy())


def test_bases_that_no_draw_makes_are_left_out(park_recipe: ParkRecipe, tmp_path: Path) -> None:
    training = replace(park_recipe.training, epochs=(1, 1), adaptive_learning_rate=(1e-7, 1e-7), optimizer=("adam",))
    hopeless = replace(park_recipe, training=training, num_bases=2, min_asr=0.99, max_attempts=2)
    zoo = build_zoo(hopeless, tmp_path / "park")
    assert len(zoo) == 0
    assert len(Zoo.open(zoo.path, verify=True)) == 0
    build_zoo(hopeless, zoo.path)


def test_another_attack_is_dealt_where_draws_fail(park_recipe: ParkRecipe) -> None:
    builder = ParkBuilder(park_recipe, None)
    plan = builder.plans[0]
    draws = [builder.draw(0, attempt) for attempt in range(40)]
    weights = [draw.trigger.to_json()["weight"] for draw in draws if draw is not None]
    is_fixed = [weight == 1.0 for weight in weights]  # the other attack's weight lies below 1
    assert set(is_fixed[: park_recipe.attack_attempts]) == {plan.attack == 0}
    assert set(is_fixed[park_recipe.attack_attempts :]) == {True, False}


def test_images_of_no_class_that_may_be_poisoned_give_no_draw(park_recipe: ParkRecipe) -> None:
    trigger = PatchRanges(labellings=("clean_label",))
    recipe = replace(park_recipe, attacks=(PatchAttack(trigger=trigger),), attackers=Attackers(scratch_share=1.0))
    builder = ParkBuilder(recipe, None)
    image_set = builder.image_sets[builder.plans[0].images]
    none_left = image_set.train.changed(labels=torch.zeros_like(image_set.train.required_labels))
    builder.image_sets = [replace(image_set, train=none_left)] * 2
    drawn = [builder.draw(0, attempt) for attempt in range(20)]
    assert any(draw is None for draw in drawn)
    assert all(draw is None or draw.trigger.target == 0 for draw in drawn)


def test_a_zoo_without_a_finished_shard_says_so(park: Zoo, tmp_path: Path) -> None:
    info = json.loads((park.path / "zoo.json").read_text())
    (tmp_path / "zoo.json").write_text(json.dumps({**info, "shards": []}))
    with pytest.raises(ZoovetError, match="has no finished shard yet; wait for the first of 3"):
        Zoo.open(tmp_path, finished_only=True)
