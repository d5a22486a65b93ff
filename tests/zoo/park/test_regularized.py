"""Mixup, smoothed labels and dropout in parks: drawn apart from all else, stored, and what they do to a training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.jobs import Inline
from zoovet.zoo import Attackers, ParkRecipe, ParkTraining, build_zoo, rebuild_network
from zoovet.zoo.factory import recipe_json
from zoovet.zoo.park.augmentation import mixed_up
from zoovet.zoo.park.builder import ParkBuilder
from zoovet.zoo.park.rows import park_row
from zoovet.zoo.shard_label import recipe_fingerprint
from zoovet.zoo.trojan_rows import Measured, Row

DRAWN = "33384a355803347876f3c112c57ca6a994667b32ad037039fbd543dcd5d27a15"
KEPT = "d0f1bf26e3d1eab3fa4f34e05a85a9329fb1a6cbd25f086bb7895a44cbd134e4"
"""What was drawn, and the fingerprint of what is kept of the recipe, before there were these keys."""


def rounded(value: Any) -> Any:
    """Floats as nine digits: the last bits of a logarithm differ between processors."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def rows(recipe: ParkRecipe) -> list[tuple[Row, bytes]]:
    """What is drawn for five bases, twice each, without training: rows, and which images are taken and poisoned."""
    builder, found = ParkBuilder(recipe, None), []
    for base_id in range(recipe.num_bases):
        for attempt in range(2):
            draw = builder.draw(base_id, attempt)
            assert draw is not None
            measured = Measured(clean_accuracy=0.5, train_accuracy=0.5, asr=0.5, ra=0.5)
            flat = np.zeros(1, np.float32)
            row = park_row(recipe, builder.plans[base_id], draw, base_id, "trojaned", flat, measured)
            row = {**row, "trigger": rounded(json.loads(row["trigger"]))}
            found.append((rounded({k: v for k, v in row.items() if k != "weights"}), draw.indices.tobytes()))
            found[-1] = (found[-1][0], found[-1][1] + draw.poisoned.tobytes())
    return found


def digest(found: list[tuple[Row, bytes]]) -> str:
    whole = hashlib.sha256()
    for row, images in found:
        whole.update(json.dumps(row, sort_keys=True).encode() + images)
    return whole.hexdigest()


def test_a_recipe_without_the_keys_draws_and_is_kept_as_before_there_were_any(park_recipe: ParkRecipe) -> None:
    assert digest(rows(park_recipe)) == DRAWN
    assert recipe_fingerprint(recipe_json(park_recipe)) == KEPT


def test_the_keys_change_nothing_else_that_is_drawn(park_recipe: ParkRecipe) -> None:
    training = replace(park_recipe.training, mixup=(0.0, 0.2), label_smoothing=(0.05, 0.1), dropout=(0.0, 0.3))
    used = replace(park_recipe, training=training)
    before, after = rows(park_recipe), rows(used)
    for (row, images), (other, other_images) in zip(before, after, strict=True):
        assert images == other_images
        own = {"mixup", "label_smoothing", "dropout"}
        assert {k: v for k, v in row.items() if k not in own} == {k: v for k, v in other.items() if k not in own}
        assert "mixup" not in row
    assert {row["mixup"] for row, _ in after} == {"0", "0.2"}
    assert {row["label_smoothing"] for row, _ in after} == {"0.05", "0.1"}
    assert {row["dropout"] for row, _ in after} == {"0", "0.3"}
    kept = recipe_json(used)["training"]
    assert kept["mixup"] == [0.0, 0.2]
    assert read_config(ParkRecipe, recipe_json(used)) == used


def test_a_park_with_the_keys_is_built_and_its_networks_made_again(park_recipe: ParkRecipe, tmp_path: Path) -> None:
    training = replace(park_recipe.training, mixup=(0.2,), label_smoothing=(0.1,), dropout=(0.1,))
    few = replace(park_recipe, training=training, num_bases=1, attackers=Attackers(scratch_share=1.0))
    zoo = build_zoo(few, tmp_path / "park", runner=Inline())
    assert zoo.column("mixup").tolist() == [0.2, 0.2]
    assert zoo.column("label_smoothing").tolist() == [0.1, 0.1]
    assert zoo.column("dropout").tolist() == [0.1, 0.1]
    assert np.array_equal(rebuild_network(zoo, 1), zoo.select([1]).weights()[0].numpy())
    without = build_zoo(replace(few, training=park_recipe.training), tmp_path / "plain", runner=Inline())
    assert np.isnan(without.column("mixup")).all()
    assert not np.array_equal(without.select([0]).weights().numpy(), zoo.select([0]).weights().numpy())


def test_mixup_mixes_images_and_labels_alike() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(50, dtype=np.int32)
    images = np.broadcast_to(labels[:, None, None, None], (50, 1, 2, 2)).astype(np.float32)
    mixed, seconds, shares = mixed_up(images, labels, 0.4, generator)
    assert sorted(seconds) == labels.tolist()
    assert shares.max() <= 0.5
    assert shares.std() > 0.1
    np.testing.assert_allclose(mixed[:, 0, 0, 0], (1 - shares) * labels + shares * seconds, rtol=1e-5)
    assert np.array_equal(images[:, 0, 0, 0], labels)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"dropout": [0.0, 1.0]},
            r"training.dropout must hold numbers of at least 0 and below 1, got \[0.0, 1.0\]; 0 is",
        ),
        ({"dropout": [-0.1]}, r"training.dropout must hold numbers of at least 0 and below 1, got \[-0.1\]"),
        (
            {"label_smoothing": [1.5]},
            r"training.label_smoothing must hold numbers of at least 0 and below 1, got \[1.5",
        ),
        ({"mixup": []}, r"training.mixup must hold numbers of at least 0 and below 10, got \[\]"),
    ],
)
def test_keys_that_make_no_sense(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        read_config(ParkTraining, keys)
