"""Generalization zoos: rows say what networks can do, and networks follow from their rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.images import load_dataset
from zoovet.jobs import Inline
from zoovet.networks import run
from zoovet.zoo import BaseTraining, GeneralizationRecipe, SplitShares, Zoo, build_zoo, rebuild_network
from zoovet.zoo.base_training import base_seed
from zoovet.zoo.builders import builder_of

RECIPE = GeneralizationRecipe(
    dataset="digits",
    num_bases=7,
    channels=(8, 8),
    train_images=400,
    test_images=100,
    measured_train_images=50,
    base=BaseTraining(epochs=4, train_fraction=(0.2, 1.0), adaptive_learning_rate=(1e-3, 1e-2)),
    checkpoints=(0, 1, 3),
    split=SplitShares(train=0.5, validation=0.2, test=0.3),
    bases_per_shard=3,
    seed=5,
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return build_zoo(RECIPE, tmp_path_factory.mktemp("zoos") / "zoo", runner=Inline())


def logits_of(zoo: Zoo, place: int, images: torch.Tensor) -> torch.Tensor:
    (networks,) = zoo.select([place]).networks()
    return run(networks, images)[0].double()


def test_every_base_has_its_checkpoints_in_one_split(zoo: Zoo) -> None:
    assert len(zoo) == RECIPE.num_networks == 21
    np.testing.assert_array_equal(zoo.column("base_id"), np.repeat(np.arange(7), 3))
    splits, steps = zoo.column("split").reshape(7, 3), zoo.column("step").reshape(7, 3)
    assert (splits == splits[:, :1]).all()
    assert sorted(splits[:, 0]) == ["test"] * 2 + ["train"] * 4 + ["validation"]
    an_epoch = np.ceil(np.round(zoo.column("train_fraction").reshape(7, 3) * 400) / 64)
    np.testing.assert_array_equal(steps, an_epoch * [0, 1, 3])
    names = [f"{base:05d}-{step:05d}" for base, row in enumerate(steps) for step in row]
    assert list(zoo.column("network_id")) == names
    assert set(zoo.column("dataset")) == {"digits"}
    assert set(zoo.column("epochs")) == {4}


def test_hyperparameters_are_the_bases_own(zoo: Zoo) -> None:
    for name in ("seed", "learning_rate", "weight_decay", "dropout", "train_fraction", "init_std"):
        drawn = zoo.column(name).reshape(7, 3)
        assert (drawn == drawn[:, :1]).all()
        assert len(set(drawn[:, 0])) == 7
    assert set(zoo.column("activation")) == {"relu", "tanh"}


def test_accuracies_and_losses_are_those_of_the_stored_weights(zoo: Zoo) -> None:
    test = load_dataset("digits", "test")[torch.arange(100)]
    for place in (1, 5, 20):
        logits = logits_of(zoo, place, test.scaled())
        assert zoo.column("clean_accuracy")[place] == (logits.argmax(1) == test.labels).double().mean()
        assert zoo.column("test_loss")[place] == pytest.approx(
            float(functional.cross_entropy(logits, test.labels)), 1e-4
        )


def test_training_figures_are_those_of_the_first_own_images(zoo: Zoo) -> None:
    train = load_dataset("digits", "train")
    for place in (2, 19):
        generator = np.random.default_rng([int(zoo.column("seed")[place]), 0])
        generator.choice(RECIPE.activations)
        RECIPE.base.draw(RECIPE.batch_size, generator)
        own = train[torch.from_numpy(generator.permutation(len(train))[:50])]
        logits = logits_of(zoo, place, own.scaled())
        assert zoo.column("train_accuracy")[place] == (logits.argmax(1) == own.labels).double().mean()
        loss = float(functional.cross_entropy(logits, own.labels))
        assert zoo.column("train_loss")[place] == pytest.approx(loss, rel=1e-4)


def test_training_teaches_something(zoo: Zoo) -> None:
    accuracy = zoo.column("clean_accuracy").reshape(7, 3)
    assert accuracy[:, 0].max() < 0.35
    assert accuracy[:, 2].max() > 0.4
    assert (zoo.column("test_loss").reshape(7, 3)[:, 2] < zoo.column("test_loss").reshape(7, 3)[:, 0]).all()


def test_a_network_can_be_made_again_from_its_row(zoo: Zoo) -> None:
    for place in (0, 4, 11):
        np.testing.assert_array_equal(rebuild_network(zoo, place), zoo.weights()[place].numpy())


def test_a_shard_follows_from_recipe_and_number_alone(zoo: Zoo) -> None:
    counts: list[int] = []
    rows = builder_of(RECIPE, None).build_shard(1, counts.append)
    assert counts == [3, 3, 3]
    assert [row["network_id"] for row in rows] == list(zoo.column("network_id")[9:18])
    np.testing.assert_array_equal(np.stack([row["weights"] for row in rows]), zoo.weights()[9:18].numpy())


def test_trainings_that_diverge_are_drawn_again() -> None:
    sometimes = BaseTraining(epochs=2, optimizers=("sgd",), sgd_learning_rate=(1e-2, 1e30), init_std=(0.1, 0.1))
    recipe = replace(RECIPE, num_bases=6, bases_per_shard=6, activations=("relu",), base=sometimes, checkpoints=(1, 2))
    rows = builder_of(recipe, None).build_shard(0, lambda _: None)
    assert len(rows) == 12
    for row in rows:
        assert np.isfinite(row["weights"]).all()
        assert np.isfinite([row["test_loss"], row["train_loss"]]).all()
    redrawn = [row["seed"] != base_seed(recipe.seed, row["base_id"], 0) for row in rows]
    assert any(redrawn)


def test_a_recipe_under_which_everything_diverges_says_what_to_change() -> None:
    hopeless = BaseTraining(epochs=2, optimizers=("sgd",), sgd_learning_rate=(1e30, 1e30))
    recipe = replace(RECIPE, activations=("relu",), base=hopeless, checkpoints=(2,), max_attempts=3)
    with pytest.raises(
        ZoovetError, match=r"base 0: training diverged in each of 3 draws; lower the greatest base\.sgd_learning_rate"
    ):
        builder_of(recipe, None).build_shard(0, lambda _: None)
