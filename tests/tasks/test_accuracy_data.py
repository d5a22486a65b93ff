"""Which networks count: activations, the last checkpoint of each training, and zoos that cannot teach accuracies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.tasks.accuracy_data import AccuracyData, load_accuracies, select_networks
from zoovet.zoo import Zoo

MakeZoo = Callable[..., Zoo]
ALL = AccuracyData(checkpoints="all")


def measured(row: dict[str, Any]) -> None:
    """Two checkpoints of one training instead of two siblings."""
    later = row["poisoned"]
    row.update(poisoned=False, step=20 if later else 10, clean_accuracy=0.1 + row["base_id"] / 40 + 0.3 * later)


def changed(**values: Any) -> Callable[[dict[str, Any]], None]:
    """As measured, but network 00003-healthy (validation, tanh) is otherwise."""

    def change(row: dict[str, Any]) -> None:
        measured(row)
        if row["network_id"] == "00003-healthy":
            row.update(values)

    return change


def test_the_last_checkpoint_of_each_training_counts(make_zoo: MakeZoo) -> None:
    zoo = make_zoo(change=measured)
    last = select_networks(zoo, AccuracyData())
    assert last.column("base_id").tolist() == list(range(20))
    assert set(last.column("step")) == {20}
    assert last.column("network_id")[7] == "00007-trojaned"
    assert len(select_networks(zoo, ALL)) == 40
    turned = zoo.select(np.arange(40)[::-1])
    assert select_networks(turned, AccuracyData()).column("base_id").tolist() == list(range(20))[::-1]
    assert set(select_networks(turned, AccuracyData()).column("step")) == {20}
    assert len(select_networks(zoo.select([]), AccuracyData())) == 0


def test_trainings_of_different_lengths_each_give_their_last(make_zoo: MakeZoo) -> None:
    last = select_networks(make_zoo(change=changed(step=30)), AccuracyData())
    assert last.column("network_id")[3] == "00003-healthy"
    assert last.column("network_id")[4] == "00004-trojaned"


def test_activations_are_chosen(make_zoo: MakeZoo) -> None:
    zoo = make_zoo(change=measured)
    relu, both = (select_networks(zoo, AccuracyData(activations=names)) for names in (("relu",), ("tanh", "relu")))
    assert set(relu.column("activation")) == {"relu"}
    assert (len(relu), len(both)) == (10, 20)
    with pytest.raises(ZoovetError, match=r"no network with activation 'gelu', only relu and tanh; change data\.activ"):
        select_networks(zoo, AccuracyData(activations=("relu", "gelu")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ("rleu",)}, r"data\.activations: 'rleu' is unknown; did you mean 'relu'"),
        ({"activations": ()}, r"data\.activations must name at least one activation"),
        ({"checkpoints": "lsat"}, r"data\.checkpoints 'lsat' is unknown; did you mean 'last'"),
    ],
)
def test_choices_that_do_not_exist_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        AccuracyData(**options)


def test_without_steps_there_is_no_last(make_zoo: MakeZoo) -> None:
    zoo = make_zoo(change=changed(step=None))
    with pytest.raises(ZoovetError, match=r"does not say after how many steps each \(column step\).* set data\.checkp"):
        select_networks(zoo, AccuracyData())
    assert len(select_networks(zoo, ALL)) == 40

    def one_each(row: dict[str, Any]) -> None:
        row["clean_accuracy"] = 0.5

    assert len(select_networks(make_zoo(asr=lambda _: None, change=one_each), AccuracyData())) == 20


def test_accuracies_stand_beside_their_networks(make_zoo: MakeZoo) -> None:
    train, validation = load_accuracies(make_zoo(change=measured), AccuracyData())
    assert (len(train), len(validation)) == (12, 4)
    torch.testing.assert_close(train.labels, 0.4 + train.base_of.float() / 40)


def test_what_the_test_split_holds_does_not_matter(make_zoo: MakeZoo) -> None:
    def garbled(row: dict[str, Any]) -> None:
        measured(row)
        if row["split"] == "test":
            row.update(clean_accuracy=None, step=None, activation="gelu")

    for data in (AccuracyData(), ALL):
        plain, other = (load_accuracies(make_zoo(change=change), data) for change in (measured, garbled))
        assert [part.fingerprint() for part in plain] == [part.fingerprint() for part in other]


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        (None, r"1 of 8 networks .* have no clean_accuracy, the first '00003-healthy'"),
        (87.5, r"network 00003-healthy of the zoo .* has the clean_accuracy 87\.5; accuracies must lie in \[0, 1\]"),
        (-0.5, r"has the clean_accuracy -0\.5"),
    ],
)
def test_missing_and_wrong_accuracies_are_named(make_zoo: MakeZoo, accuracy: float | None, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        load_accuracies(make_zoo(change=changed(clean_accuracy=accuracy)), ALL)


def test_splits_that_are_too_small_are_refused(make_zoo: MakeZoo) -> None:
    with pytest.raises(ZoovetError, match=r"the validation split of the zoo .* has only 1 network with .* at least 2"):
        load_accuracies(make_zoo(num_bases=5, change=measured), AccuracyData())
    train, validation = load_accuracies(make_zoo(num_bases=5, change=measured), ALL)
    assert (len(train), len(validation)) == (6, 2)


def test_accuracies_that_are_all_the_same_cannot_be_ordered(make_zoo: MakeZoo) -> None:
    def alike(row: dict[str, Any]) -> None:
        measured(row)
        row["clean_accuracy"] = 0.5

    message = r"the 4 validation networks of the zoo .* all have the clean_accuracy 0\.5, so that no order"
    with pytest.raises(ZoovetError, match=message):
        load_accuracies(make_zoo(change=alike), AccuracyData())
