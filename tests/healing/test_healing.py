"""Healing one network: which rate, which round, which strength."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence.trigger_families import Changes
from zoovet.healing import CleanLoss, Edit, Editable, HealingConfig, SoughtTrigger, UnlearningConfig, heal
from zoovet.healing.unlearning import Round, unlearned
from zoovet.healing.watch import CleanWatch, Views, held_out


def rates_of(told: list[str]) -> list[float]:
    """The rates of the rounds, in their order."""
    return [float(line.partition(" at rate ")[2].split(":")[0]) for line in told if " at rate " in line]


def test_what_works_stops_working_at_little_cost(editable: Editable, images: Tensor, labels: Tensor) -> None:
    config = HealingConfig(unlearning=UnlearningConfig(rate=0.1, num_steps=20, num_rounds=2), num_attempts=1)
    edit = heal(editable, images, labels, [2], config)
    strongest = edit.strongest
    assert strongest is not None
    assert edit.flips_before[strongest] == 1
    assert edit.flips_after[strongest] < 0.2
    assert edit.lost.may_be(0.01)
    assert edit.num_right_after >= edit.num_right_before - 1
    assert edit.num_held_out == 13
    assert 0 < edit.change < 1


def test_what_is_taken_learned_from_all_images_what_it_costs_is_told_without_the_held_out_ones(
    editable: Editable, images: Tensor, labels: Tensor
) -> None:
    config = HealingConfig(unlearning=UnlearningConfig(rate=0.1, num_steps=20, num_rounds=2), num_attempts=1)
    told: list[str] = []
    edit = heal(editable, images, labels, [2], config, progress=told.append)
    last = [line for line in told if "with all images" in line]
    assert last[0].startswith("2 of 2: with all images: round 1 of ")
    assert last[-1].endswith("of images: taken")
    _, watch = held_out(labels, config.seed)
    watched = CleanWatch(editable, images[watch], labels[watch], Views(moved=False, mirrored=False))
    taken = editable.logits(editable.weights, images).argmax(1)
    learned_from = editable.logits(edit.weights, images).argmax(1) == taken
    assert watched.num_right(editable.weights) == edit.num_right_before
    assert float(learned_from.float().mean()) >= 0.95


@pytest.mark.parametrize("share", [0.0, -1.0])
def test_one_that_learned_from_all_is_not_taken_where_triggers_work_more_after_it_or_it_costs_too_much(
    editable: Editable, images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """As the network was, triggers work; with the opposite of its weights clean answers are gone."""
    config = HealingConfig(unlearning=UnlearningConfig(rate=0.1, num_steps=20, num_rounds=2), num_attempts=1)
    kept = unlearned
    spoilt = {name: own if share == 0 else share * own for name, own in editable.weights.items()}

    def worse(*arguments: Any) -> Any:
        search = arguments[1]
        for done in kept(*arguments):
            yield replace(done, weights=spoilt) if len(search.images) == len(images) else done

    monkeypatch.setattr("zoovet.healing.healing.unlearned", worse)
    told: list[str] = []
    edit = heal(editable, images, labels, [2], config, progress=told.append)
    assert told[-1].endswith("of images: not taken")
    assert edit.change > 0
    assert edit.flips_after[edit.strongest or 0] < 0.2
    taken = editable.logits(editable.weights, images).argmax(1)
    assert float((editable.logits(edit.weights, images).argmax(1) == taken).float().mean()) > 0.9


def test_it_goes_faster_where_triggers_still_work(editable: Editable, images: Tensor, labels: Tensor) -> None:
    slow, told = UnlearningConfig(rate=1e-4, num_steps=1, num_rounds=1), list[str]()
    heal(editable, images, labels, [2], HealingConfig(unlearning=slow, num_attempts=3), progress=told.append)
    assert rates_of(told) == pytest.approx([1e-4, 1.5e-4, 2.25e-4])


def test_it_goes_no_faster_where_more_than_half_of_what_may_be_lost_is_lost_already(
    editable: Editable, images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, rates = UnlearningConfig(rate=1e-4, num_steps=1, num_rounds=1), []
    for share in (0.004, 0.006):
        told, lost = list[str](), CleanLoss(share=share, error=0.0)
        monkeypatch.setattr("zoovet.healing.watch.CleanWatch.lost", lambda *_, lost=lost: lost)
        heal(editable, images, labels, [2], HealingConfig(unlearning=slow, num_attempts=2), progress=told.append)
        rates.append(rates_of(told))
    assert rates == [pytest.approx([1e-4, 1.5e-4]), pytest.approx([1e-4])]


def test_it_goes_slower_where_it_costs_too_much(
    editable: Editable, images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoovet.healing.watch.CleanWatch.lost", lambda *_: CleanLoss(share=0.5, error=0.1))
    fast, told = UnlearningConfig(rate=0.09, num_steps=1, num_rounds=2), list[str]()
    edit = heal(editable, images, labels, [2], HealingConfig(unlearning=fast, num_attempts=2), progress=told.append)
    assert rates_of(told) == pytest.approx([0.09, 0.09, 0.03, 0.03])
    assert edit.strength == 0


@pytest.mark.parametrize(("share_wrong", "expected"), [(0.0, 0.0), (0.15, 1.5), (0.3, 3.0), (0.6, 3.0)])
def test_enlarged_parts_count_by_how_often_a_network_is_wrong(
    editable: Editable,
    images: Tensor,
    labels: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    share_wrong: float,
    expected: float,
) -> None:
    asked = list[float]()

    def recorded(
        editable: Editable, search: object, targets: object, config: UnlearningConfig, *_: object
    ) -> list[Round]:
        asked.append(config.enlarged_weight)
        return [Round(number=1, weights=editable.weights, triggers=())]

    monkeypatch.setattr("zoovet.healing.healing.unlearned", recorded)
    images, labels = images.repeat(4, 1, 1, 1), labels.repeat(4)
    said = labels.clone()
    said[: round(share_wrong * len(said))] += 1
    config = HealingConfig(unlearning=UnlearningConfig(enlarged_weight=3.0), num_attempts=1)
    heal(editable, images, said % 4, [2], config)
    assert asked == pytest.approx([expected] * 2, abs=0.05)  # the edit, and what goes on with all images
    heal(editable, images, None, [2], config)
    sureness = float(editable.logits(editable.weights, images).softmax(1).amax(1).double().mean())
    assert asked[2:] == pytest.approx([3 * min(1, (1 - sureness) / 0.3)] * 2)
    heal(editable, images, said % 4, [2], replace(config, wrong_share=0.1))
    assert asked[4:] == pytest.approx([1.0] * 2)


def test_nothing_is_changed_where_every_strength_costs_too_much(
    editable: Editable, images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoovet.healing.watch.CleanWatch.strongest", lambda *_: None)
    little = UnlearningConfig(num_steps=1, num_rounds=1)
    edit = heal(editable, images, None, [2], HealingConfig(unlearning=little, num_attempts=1))
    assert (edit.strength, edit.change, edit.lost.share) == (0, 0, 0)
    assert edit.flips_after == edit.flips_before
    assert all(torch.equal(edit.weights[name], own) for name, own in editable.weights.items())


def test_images_of_one_class_are_refused(editable: Editable, images: Tensor, labels: Tensor) -> None:
    own = labels == 2
    with pytest.raises(ZoovetError, match="reference images of other classes than 2, which is suspected, are needed"):
        heal(editable, images[own], labels[own], [2], HealingConfig())
    wrongs: tuple[dict[str, Any], ...] = (
        *({"max_loss": 2.0}, {"seed": -1}, {"num_attempts": 0}),
        *({"wrong_share": -0.1}, {"wrong_share": 1.1}),
    )
    for wrong in wrongs:
        with pytest.raises(ZoovetError, match="must be"):
            HealingConfig(**wrong)


def test_the_strongest_trigger_is_one_that_erases_nothing() -> None:
    patch = SoughtTrigger(
        kind="patch", target=2, family=Changes(0.1), values=torch.zeros(1, 1, 8, 8), flips=1.0, bearable=0.1
    )
    facts: dict[str, Any] = {"weights": {}, "change": 0.0, "strength": 0.0, "num_held_out": 9}
    facts["lost"] = CleanLoss(share=0.0, error=0.0)
    counts: dict[str, Any] = {"num_right_before": 9, "num_right_after": 9}
    triggers = (patch, replace(patch, bearable=0.9))
    edit = Edit(**facts, **counts, triggers=triggers, flips_before=(1.0, 0.7), flips_after=(1.0, 0.1))
    assert edit.strongest == 1
    assert edit.still_turned == {"patch": pytest.approx(0.09)}  # of 0.9 that its opposite leaves
    assert replace(edit, triggers=(patch, patch)).strongest == 0
    assert replace(edit, triggers=(patch, patch), flips_before=(1.0, 1.0), flips_after=(0.0, 0.3)).strongest == 1
    others = tuple(replace(patch, kind=kind, bearable=0.9) for kind in ("patch", "patch", "warp", "blend"))
    many = replace(edit, triggers=others, flips_before=(1.0, 0.8, 0.6, 0.4), flips_after=(0.1, 0.7, 0.3, 1.0))
    assert many.still_turned == {
        "patch": pytest.approx(0.36),
        "warp": pytest.approx(0.27),
    }  # the blend did not work before
    none = replace(edit, triggers=(), flips_before=(), flips_after=())
    assert (none.strongest, none.still_turned) == (None, {})


def test_an_edit_that_was_best_by_the_triggers_known_then_gives_way_to_one_that_is_best_by_all(
    editable: Editable, images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        SoughtTrigger(kind=kind, target=2, family=Changes(0.1), values=torch.zeros(1, 1, 8, 8), flips=1.0, bearable=1.0)
        for kind in ("patch", "change")
    ]
    edits = [{name: own + step for name, own in editable.weights.items()} for step in (1e-3, 2e-3)]
    turned = {0: (1.0, 1.0), 1: (0.0, 0.9), 2: (0.3, 0.2)}  # by the network as it was, and after each round

    def flips(watched: Any, weights: Any, triggers: Any) -> list[float]:
        name = next(iter(editable.weights))
        which = round(float((weights[name] - editable.weights[name]).mean()) / 1e-3)
        return [turned[which][found.index(one)] for one in triggers]

    def rounds(*arguments: Any) -> Any:
        start = arguments[6:]
        if start:
            yield Round(number=1, weights=start[0], triggers=tuple(found))
            return
        yield Round(number=1, weights=edits[0], triggers=(found[0],))
        yield Round(number=2, weights=edits[1], triggers=tuple(found))

    monkeypatch.setattr("zoovet.healing.watch.CleanWatch.flips", flips)
    monkeypatch.setattr("zoovet.healing.watch.CleanWatch.strongest", lambda *_: (1.0, CleanLoss(share=0.0, error=0.0)))
    monkeypatch.setattr("zoovet.healing.healing.unlearned", rounds)
    edit = heal(editable, images, labels, [2], HealingConfig(num_attempts=1))
    assert edit.flips_after == (0.3, 0.2)
