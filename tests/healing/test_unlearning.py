"""Rounds of unlearning: triggers stop working, clean answers stay, each round starts from triggers that work still."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.healing import Editable, TriggerSearch, UnlearningConfig
from zoovet.healing.unlearning import unlearned


def test_triggers_stop_working_and_clean_answers_stay(editable: Editable, images: Tensor, labels: Tensor) -> None:
    search, told = TriggerSearch(images=images, taken=labels, unit=1.0, bounds={}), list[str]()
    config = UnlearningConfig(rate=0.1, num_steps=15, num_rounds=2)
    first, second = unlearned(editable, search, [2], config, told.append)
    assert (first.number, second.number) == (1, 2)
    assert second.triggers[: len(first.triggers)] == first.triggers
    assert len(second.triggers) > len(first.triggers)
    shown = images.clone()
    shown[..., 6:, 6:] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    others = labels != 2
    assert bool((editable.logits(editable.weights, shown)[others].argmax(1) == 2).all())
    assert float((editable.logits(second.weights, shown)[others].argmax(1) == 2).double().mean()) < 0.1
    assert float((editable.logits(second.weights, images).argmax(1) == labels).double().mean()) > 0.9
    assert told[0] == "round 1 of 2: triggers towards class 2"
    known = next(unlearned(editable, search, [2], config, told.append, first.triggers))
    assert known.triggers == first.triggers


def test_a_seed_settles_all(editable: Editable, images: Tensor, labels: Tensor) -> None:
    search, config = (
        TriggerSearch(images=images, taken=labels, unit=1.0, bounds={}),
        UnlearningConfig(num_steps=2),
    )
    rounds = [next(unlearned(editable, search, [2], config, lambda _: None)) for _ in range(2)]
    assert all(torch.equal(rounds[0].weights[name], own) for name, own in rounds[1].weights.items())


@pytest.mark.parametrize("num_random", [0, 8])
def test_own_answers_are_asked_for_with_triggers_drawn_at_random_too(
    editable: Editable, images: Tensor, labels: Tensor, num_random: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, logits = list[int](), type(editable).logits
    monkeypatch.setattr(
        type(editable), "logits", lambda own, *given: asked.append(len(given[1])) or logits(own, *given)
    )
    search = TriggerSearch(images=images, taken=labels, unit=1.0, bounds={})
    config = UnlearningConfig(num_steps=1, batch_size=16, num_triggers=16, num_random=num_random)
    next(unlearned(editable, search, [2], config, lambda _: None))
    assert asked == [32 + num_random] * 2  # with triggers, and without


@pytest.mark.parametrize("wrong", [{"num_steps": 0}, {"rate": 0.0}, {"ascent": 2.0}, {"seed": -1}, {"num_random": -1}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ZoovetError, match="must be"):
        UnlearningConfig(**wrong)
