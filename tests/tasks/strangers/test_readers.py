"""Readers learn which class stands out, whatever the number of classes, and the same from the same networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets.class_reader import ClassReaderConfig
from zoovet.tasks.strangers.config import ReaderTraining, StrangerConfig
from zoovet.tasks.strangers.examined import Examined
from zoovet.tasks.strangers.readers import trained_readers

TRAINING = ReaderTraining(num_members=2, num_steps=60)


def test_they_tell_networks_that_they_never_saw(rows: Callable[..., list[Examined]]) -> None:
    readers = trained_readers([row.labelled for row in rows(40)], TRAINING, ClassReaderConfig())
    unseen = rows(20, seed=1)
    answers = [readers.read(row.labelled.features) for row in unseen]
    healthy, trojaned = (
        torch.tensor(
            [logit for row, (_, logit) in zip(unseen, answers, strict=True) if row.labelled.is_trojaned == is_trojaned]
        )
        for is_trojaned in (False, True)
    )
    assert float((trojaned[:, None] > healthy).float().mean()) > 0.95
    named = [
        int(scores.argmax()) == row.labelled.target
        for row, (scores, _) in zip(unseen, answers, strict=True)
        if row.labelled.is_trojaned
    ]
    assert sum(named) >= 18


def test_the_same_networks_make_the_same_readers_and_draws_of_others_stay(rows: Callable[..., list[Examined]]) -> None:
    known, short = [row.labelled for row in rows(6)], ReaderTraining(num_members=1, num_steps=5)
    torch.manual_seed(5)
    drawn = torch.rand(())
    torch.manual_seed(5)
    first, second = (trained_readers(known, short, ClassReaderConfig()) for _ in range(2))
    assert torch.rand(()) == drawn
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    other = trained_readers(known, ReaderTraining(num_members=1, num_steps=5, seed=1), ClassReaderConfig())
    assert not torch.equal(other.members[0].kinds, first.members[0].kinds)


def test_configuration() -> None:
    for options, text in (
        ({"num_members": 0}, "training.num_members must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "training.learning_rate must be above 0"),
        ({"noise": -1.0}, "training.noise must be at least 0"),
        ({"dropped_kinds": 1.0}, "training.dropped_kinds must lie in 0 to 0.9"),
    ):
        with pytest.raises(ZoovetError, match=text):
            ReaderTraining(**options)
    with pytest.raises(ZoovetError, match="images_per_class must be at least 0"):
        StrangerConfig(images_per_class=-1)
