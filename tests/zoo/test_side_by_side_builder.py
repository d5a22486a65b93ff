"""A zoo that is built side by side has the draws of one that is built network by network, and nearly its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.cli.main import main
from zoovet.config import write_config
from zoovet.errors import ZoovetError
from zoovet.images import PatchRanges, StripeRanges
from zoovet.zoo import (
    Attackers,
    BaseTraining,
    BuildProgress,
    FineTuning,
    GeneralizationRecipe,
    InrRecipe,
    PatchAttack,
    StripeAttack,
    TrojanRecipe,
    Zoo,
    build_zoo,
)
from zoovet.zoo.base_training import base_seed
from zoovet.zoo.builders import Recipe, builder_of
from zoovet.zoo.growing_zoo import GrowingZoo
from zoovet.zoo.shards import write_shard
from zoovet.zoo.side_by_side_builder import SideBySideTrojanBuilder
from zoovet.zoo.trojan_rows import Row

DRAWN = (
    *("network_id", "seed", "split", "activation", "init", "init_std", "optimizer", "learning_rate", "weight_decay"),
    *("dropout", "batch_size", "epochs", "train_fraction", "finetune_learning_rate", "finetune_epochs", "step"),
    *("origin", "poisoned", "attack", "anchor", "trigger", "target", "poison_rate"),
)
FIGURES = ("clean_accuracy", "train_accuracy", "asr", "ra")


@pytest.fixture(scope="module")
def recipe(tiny_recipe: TrojanRecipe) -> TrojanRecipe:
    """One short epoch of bases, without dropout; every origin; whatever comes out is taken."""
    return replace(
        tiny_recipe,
        num_bases=4,
        activations=("relu",),
        train_images=200,
        batch_size=16,
        base=BaseTraining(epochs=1, dropout=(0.0, 0.0)),
        finetune=FineTuning(epochs=(1, 2), learning_rate=(3e-3, 1e-2)),
        attacks=(
            PatchAttack(share=3, trigger=PatchRanges(min_size=2, max_size=3, min_weight=0.8)),
            StripeAttack(poison_rate=(0.03, 0.05), trigger=StripeRanges(labellings=("clean_label",))),
        ),
        attackers=Attackers(scratch_share=0.25, anchored_share=0.25, anchor=(0.05, 0.1)),
        min_clean_accuracy=0.0,
        min_asr=0.0,
        bases_per_shard=2,
    )


@pytest.fixture(scope="module")
def one_by_one(recipe: TrojanRecipe) -> dict[int, list[Row]]:
    builder = builder_of(recipe, None)
    return {index: builder.build_shard(index, lambda _: None) for index in range(2)}


def shards_of(builder: SideBySideTrojanBuilder, *indices: int) -> dict[int, list[Row]]:
    return dict(builder.build_shards(indices, lambda _: None))


def assert_nearly_the_same(found: list[Row], expected: list[Row]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert {name: ours[name] for name in DRAWN} == {name: theirs[name] for name in DRAWN}
        np.testing.assert_allclose(ours["weights"], theirs["weights"], atol=1e-4)
        for name in FIGURES:
            assert ours[name] == pytest.approx(theirs[name], abs=0.011)


def test_draws_are_the_same_and_weights_nearly(recipe: TrojanRecipe, one_by_one: dict[int, list[Row]]) -> None:
    found = shards_of(SideBySideTrojanBuilder(recipe, None, "cpu"), 0, 1)
    assert list(found) == [0, 1]
    for index, rows in found.items():
        assert_nearly_the_same(rows, one_by_one[index])
    rows = [*found[0], *found[1]]
    assert len({row["seed"] for row in rows}) == 4
    assert {row["origin"] for row in rows} == {"fine_tuned", "scratch", "anchored"}


def test_it_does_not_matter_who_is_in_a_round(recipe: TrojanRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor how many draws of a base a round tries, where the first ones are not good enough."""
    picky = replace(recipe, min_asr=0.1, max_attempts=3, bases_per_shard=1)
    small, large = (SideBySideTrojanBuilder(picky, None, "cpu", bases_together=count) for count in (2, 100))
    monkeypatch.setattr("zoovet.zoo.side_by_side_builder._FEW", 4)
    few_at_once, all_at_once = shards_of(small, 0, 1, 2, 3), shards_of(large, 3, 2, 1, 0)
    seeds = set()
    for index in range(4):
        expected = builder_of(picky, None).build_shard(index, lambda _: None)
        assert_nearly_the_same(few_at_once[index], expected)
        assert_nearly_the_same(all_at_once[index], expected)
        seeds.add(expected[0]["seed"])
    assert len(seeds & {base_seed(picky.seed, index, 0) for index in range(4)}) == 2


def test_a_build_that_was_begun_on_processors_goes_on(
    recipe: TrojanRecipe, one_by_one: dict[int, list[Row]], tmp_path: Path
) -> None:
    stored = json.loads(json.dumps(asdict(recipe)))
    begun = GrowingZoo(tmp_path, graphs=builder_of(recipe, None).graphs, recipe=stored, num_shards=2)
    begun.add(write_shard(begun.path(0), one_by_one[0]))
    there = begun.path(0).read_bytes()
    reports: list[BuildProgress] = []
    zoo = build_zoo(recipe, tmp_path, side_by_side="cpu", progress=reports.append)
    assert reports[0].num_found == 4
    assert reports[-1].num_networks == reports[-1].total == len(zoo) == 8
    assert begun.path(0).read_bytes() == there
    assert zoo.recipe == stored
    expected = one_by_one[1]
    found = zoo.select(range(4, 8))
    for name in DRAWN:
        assert list(found.column(name)) == [-1 if row[name] is None else row[name] for row in expected], name
    np.testing.assert_allclose(found.weights().numpy(), [row["weights"] for row in expected], atol=1e-4)


def test_a_recipe_without_poisoned_networks(recipe: TrojanRecipe) -> None:
    builder = SideBySideTrojanBuilder(replace(recipe, bases_per_shard=3, poisoned=False), None, "cpu")
    rows = shards_of(builder, 0)[0]
    assert [row["network_id"] for row in rows] == ["00000-healthy", "00001-healthy", "00002-healthy"]
    assert all(row["asr"] is None and row["trigger"] is None for row in rows)


def test_dropout_leaves_the_draws_as_they_are(recipe: TrojanRecipe) -> None:
    dropping = replace(recipe, base=BaseTraining(epochs=2, dropout=(0.05, 0.1)))
    expected = builder_of(dropping, None).build_shard(0, lambda _: None)
    found = shards_of(SideBySideTrojanBuilder(dropping, None, "cpu"), 0)[0]
    for ours, theirs in zip(found, expected, strict=True):
        assert {name: ours[name] for name in DRAWN} == {name: theirs[name] for name in DRAWN}
        assert ours["clean_accuracy"] == pytest.approx(theirs["clean_accuracy"], abs=0.2)
        assert np.abs(ours["weights"] - theirs["weights"]).max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_clean_accuracy": 0.99}, r"base 0: 2 draws gave no networks .* ≥ 0.99 and ASR"),
        ({"attacks": (PatchAttack(poison_rate=(0.99, 1.0)),)}, "may be poisoned by this patch trigger; lower its"),
    ],
)
def test_a_recipe_that_cannot_be_met(settings: dict[str, object], message: str, recipe: TrojanRecipe) -> None:
    builder = SideBySideTrojanBuilder(replace(recipe, num_bases=1, max_attempts=2, **settings), None, "cpu")
    with pytest.raises(ZoovetError, match=message):
        shards_of(builder, 0)


def test_a_device_of_too_little_memory(recipe: TrojanRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    monkeypatch.setattr("zoovet.zoo.side_by_side_builder.train_side_by_side", train)
    with pytest.raises(
        ZoovetError, match=r"too small for 4 rounds .* --device cpu goes on with it \(tried to allocate"
    ):
        shards_of(SideBySideTrojanBuilder(recipe, None, "cpu"), 0)


def test_one_process_has_the_device(recipe: TrojanRecipe, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"workers must be 1 where networks are trained side by side, .* got 2"):
        build_zoo(recipe, tmp_path, workers=2, side_by_side="cpu")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (GeneralizationRecipe, "no choice for a zoo of kind 'generalization': networks of its kind are trained one"),
        (InrRecipe, "no choice for a zoo of kind 'inr': SIRENs are fitted on a GPU where there is one"),
    ],
)
def test_other_kinds_are_refused(make: Callable[[], Recipe], message: str, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=message):
        build_zoo(make(), tmp_path / "zoo", side_by_side="cpu")
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("make", "device", "message"),
    [
        (TrojanRecipe, "cuda", "--device cuda: PyTorch finds no CUDA device here; use --device cpu or auto"),
        (InrRecipe, "cpu", "--device cpu is no choice for a zoo of kind 'inr': SIRENs are fitted on a GPU where"),
    ],
)
def test_the_command_refuses_devices(
    make: Callable[[], Recipe],
    device: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    write_config(make(), tmp_path / "recipe.yaml")
    assert main(["build", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "zoo"), "--device", device]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_command_hands_a_device_over(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    asked: list[str | None] = []

    def build(*_: object, side_by_side: str | None, **__: object) -> Zoo:
        asked.append(side_by_side)
        raise ZoovetError("enough")

    monkeypatch.setattr("zoovet.zoo.build_zoo", build)
    write_config(TrojanRecipe(), tmp_path / "recipe.yaml")
    assert main(["build", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "zoo"), "--device", device]) == 2
    assert asked == [None if device == "cpu" else "cuda"]
