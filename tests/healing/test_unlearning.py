"""Rounds of unlearning: triggers stop working, clean answers stay, each round starts from triggers that work still."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.evidence import Pace, Runnable, RunnableGraphs
from zoovet.healing import Editable, FloatingWeights, TriggerSearch, UnlearningConfig, editable_graph
from zoovet.healing.unlearning import unlearned
from zoovet.networks import SCALING_PRESETS
from zoovet.readers.exported import graph_from_module


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


@pytest.mark.parametrize(("num_random", "num_enlarged"), [(0, 0), (8, 0), (0, 6)])
def test_own_answers_are_asked_for_with_triggers_drawn_at_random_and_of_parts_too(
    editable: Editable, images: Tensor, labels: Tensor, num_random: int, num_enlarged: int
) -> None:
    asked = list[int]()

    class Counted:
        def __init__(self, weights: FloatingWeights) -> None:
            self._network = editable.with_weights(weights)

        def logits(self, shown: Tensor) -> Tensor:
            asked.append(len(shown))
            return self._network.logits(shown)

    search = TriggerSearch(images=images, taken=labels, unit=1.0, bounds={})
    config = UnlearningConfig(
        num_steps=1, batch_size=16, num_triggers=16, num_random=num_random, num_enlarged=num_enlarged
    )
    (first,) = unlearned(editable, search, [2], replace(config, num_rounds=1), lambda _: None)
    counted = replace(editable, rounded=lambda weights: cast("Runnable", Counted(weights)))
    next(unlearned(counted, search, [2], config, lambda _: None, first.triggers))
    shown = 16 + 16 // min(16, len(first.triggers)) * min(16, len(first.triggers)) + num_random + num_enlarged
    assert asked == [shown] * 2  # with triggers, and without


def test_enlarged_parts_are_not_asked_for_classes_that_are_suspected(
    editable: Editable, images: Tensor, labels: Tensor
) -> None:
    """What a network answers of them for a suspected class leaves a step as it is; for another class it does not."""
    num_enlarged = 6

    @dataclass
    class Raised:
        """As it is, the network answers of enlarged parts, which come last, with a class raised."""

        weights: FloatingWeights
        raised: int | None

        def logits(self, shown: Tensor) -> Tensor:
            logits = editable.with_weights(self.weights).logits(shown).clone()
            if self.raised is not None and self.weights is editable.weights:
                logits[:, -num_enlarged:, self.raised] += 3
            return logits

    search, made = TriggerSearch(images=images, taken=labels, unit=1.0, bounds={}), []
    config = UnlearningConfig(num_steps=1, num_random=0, num_enlarged=num_enlarged)
    (first,) = unlearned(editable, search, [2], config, lambda _: None)
    for raised in (None, 2, 0):
        answering = replace(editable, rounded=lambda weights, own=raised: cast("Runnable", Raised(weights, own)))
        made += unlearned(answering, search, [2], config, lambda _: None, first.triggers)
    plain, suspected, other = (torch.cat([own.flatten() for own in one.weights.values()]) for one in made)
    assert torch.equal(plain, suspected)
    assert not torch.equal(plain, other)


def test_of_two_classes_no_parts_are_asked_for(images: Tensor, labels: Tensor) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    networks = graph_from_module(module, (1, 8, 8)).with_scaling(SCALING_PRESETS["symmetric"])
    editable = editable_graph(networks, RunnableGraphs)
    search = TriggerSearch(images=images, taken=labels % 2, unit=1.0, bounds={})
    some = UnlearningConfig(num_steps=2, num_enlarged=6)
    made = [
        next(unlearned(editable, search, [1], config, lambda _: None))
        for config in (some, replace(some, num_enlarged=0))
    ]
    assert all(torch.equal(made[0].weights[name], made[1].weights[name]) for name in editable.weights)


def test_a_step_that_threads_share_is_the_step(editable: Editable, images: Tensor, labels: Tensor) -> None:
    config, made = UnlearningConfig(num_steps=1, num_rounds=1), []
    for num_threads in (1, 2):
        pace = Pace(num_threads=num_threads)
        search = TriggerSearch(images=images, taken=labels, unit=1.0, bounds={}, pace=pace)
        made += unlearned(editable, search, [2], config, lambda _: None)
    alone, shared = made
    assert [one.kind for one in alone.triggers] == [one.kind for one in shared.triggers]
    for name, own in editable.weights.items():
        assert torch.allclose(alone.weights[name], shared.weights[name], atol=1e-4)
        assert not torch.equal(alone.weights[name], own)


def test_as_many_layers_are_edited_as_is_said(editable: Editable, images: Tensor, labels: Tensor) -> None:
    search = TriggerSearch(images=images, taken=labels, unit=1.0, bounds={})
    for share, edited in ((0.5, ["4.weight", "4.bias"]), (0.51, list(editable.weights))):
        config = UnlearningConfig(num_steps=1, edited_share=share)
        (made,) = unlearned(editable, search, [2], config, lambda _: None)
        changed = [name for name, own in editable.weights.items() if not torch.equal(made.weights[name], own)]
        assert changed == edited


def test_known_triggers_are_unlearned_from_where_an_edit_stands(
    editable: Editable, images: Tensor, labels: Tensor
) -> None:
    search = TriggerSearch(images=images, taken=labels, unit=1.0, bounds={})
    config, told = UnlearningConfig(num_steps=5, num_rounds=1, rate=0.01), list[str]()
    (first,) = unlearned(editable, search, [2], config, lambda _: None)
    (after,) = unlearned(editable, search, (), config, told.append, first.triggers, first.weights)
    assert after.triggers == first.triggers
    assert not any("towards" in line for line in told)
    for name, own in editable.weights.items():
        moved = (after.weights[name] - first.weights[name]).norm()
        assert 0 < moved < 3 * (first.weights[name] - own).norm()


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_steps": 0},
        {"rate": 0.0},
        {"ascent": 2.0},
        {"seed": -1},
        {"num_random": -1},
        {"num_enlarged": -1},
        {"enlarged_weight": -0.5},
        {"edited_share": 0.0},
        {"edited_share": 1.1},
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ZoovetError, match="must be"):
        UnlearningConfig(**wrong)
