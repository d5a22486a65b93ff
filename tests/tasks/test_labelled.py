"""Networks with a label each: read from a zoo of any graphs, complete and with splits that do not overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.tasks.labelled import LabelledPopulation, load_labelled
from zoovet.zoo import Zoo


def labelled(row: dict[str, Any]) -> None:
    row.update(label=row["base_id"] % 7, clean_accuracy=row["base_id"] / 40)


def test_labels_stand_beside_their_networks(make_zoo: Callable[..., Zoo]) -> None:
    zoo = make_zoo(change=labelled)
    train, validation = load_labelled(zoo, "label")
    assert (len(train), len(validation), train.num_left_out) == (24, 8, 0)
    assert train.labels.dtype == torch.int64
    assert torch.equal(train.labels, train.base_of % 7)
    assert set(train.network_ids) == set(zoo.split("train").column("network_id"))
    batch = train.batch(torch.tensor([5, 0, 11]))
    flat = zoo.split("train").weights()
    assert torch.equal(torch.cat([networks.flat() for networks in batch.networks]), flat[batch.indices])
    accuracies, _ = load_labelled(zoo, "clean_accuracy")
    assert accuracies.labels.dtype == torch.float32
    torch.testing.assert_close(accuracies.labels, train.base_of.float() / 40)


def test_changed_weights_keep_labels_and_places(make_zoo: Callable[..., Zoo]) -> None:
    train, _ = load_labelled(make_zoo(change=labelled), "label")
    doubled = train.mapped(lambda networks: networks.map(lambda values: 2 * values))
    for before, after in zip(train.everything().networks, doubled.everything().networks, strict=True):
        assert torch.equal(2 * before.flat(), after.flat())
    assert doubled.labels is train.labels


def test_the_fingerprint_covers_weights_and_labels(make_zoo: Callable[..., Zoo]) -> None:
    def other(row: dict[str, Any]) -> None:
        labelled(row)
        row["label"] += row["base_id"] == 0

    def moved(row: dict[str, Any]) -> None:
        labelled(row)
        row["weights"][0] += row["base_id"] == 0

    prints = [load_labelled(make_zoo(change=change), "label")[0].fingerprint() for change in (labelled, other, moved)]
    assert len(set(prints)) == 3
    assert prints[0] == LabelledPopulation.of_zoo(make_zoo(change=labelled).split("train"), "label").fingerprint()


def test_missing_labels_are_named(make_zoo: Callable[..., Zoo]) -> None:
    def forgetful(row: dict[str, Any]) -> None:
        labelled(row)
        if row["base_id"] in (2, 5):
            del row["label"], row["clean_accuracy"]

    for column in ("label", "clean_accuracy"):
        message = rf"4 of 24 networks of the zoo .* have no {column}, the first '00002-healthy'; build or import a zoo"
        with pytest.raises(ZoovetError, match=message):
            load_labelled(make_zoo(change=forgetful), column)


def test_splits_that_overlap_or_are_empty_are_refused(make_zoo: Callable[..., Zoo]) -> None:
    def overlapping(row: dict[str, Any]) -> None:
        labelled(row)
        if row["base_id"] == 1 and row["poisoned"]:
            row["split"] = "validation"

    with pytest.raises(ZoovetError, match="overlap: networks of base 1 are in train and in validation; split it by"):
        load_labelled(make_zoo(change=overlapping), "label")
    with pytest.raises(ZoovetError, match=r"the validation split of the zoo .* is empty; build a larger zoo"):
        load_labelled(make_zoo(num_bases=3, change=labelled), "label")
