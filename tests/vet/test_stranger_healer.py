"""Networks that no repairer knows are healed on reference images; healthy ones stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from zoovet import Images, Network, Repairer, ZoovetError, from_module
from zoovet.healing import Edit, HealingConfig, UnlearningConfig, heal
from zoovet.vet.editable_network import editable_network
from zoovet.vet.stranger_healer import Accuracy, StrangerHealer
from zoovet.vet.strangers import Strangers

Nets = Callable[[int | None], Network]
QUICK = HealingConfig(unlearning=UnlearningConfig(rate=0.1, num_rounds=1, num_steps=50), num_attempts=2)
LITTLE = HealingConfig(unlearning=UnlearningConfig(num_rounds=1, num_steps=2), num_attempts=1)
"""Enough to be an edit, not to heal."""


@pytest.fixture(scope="module")
def repairer(stranger_reader: Any) -> Repairer:
    return Repairer(strangers=stranger_reader, effort="quick", healing=QUICK)


def stamp_on(images: Images) -> Images:
    """With the checker in the lower right corner that sets off the tests' trojan."""
    pixels = images.pixels.clone()
    pixels[:, 0, 9:, 9:] = (255 * (1 - torch.arange(9).reshape(3, 3) % 2)).to(torch.uint8)
    return replace(images, pixels=pixels)


def asr(network: Network, images: Images) -> float:
    others = images[images.required_labels != 3]
    return float((network.predict(stamp_on(others)) == 3).float().mean())


def accuracy(network: Network, images: Images) -> float:
    return float((network.predict(images) == images.required_labels).float().mean())


def test_the_edited_network_is_scanned_with_one_effort_less(
    stranger_reader: Any, stamped: Nets, pictures: Images
) -> None:
    healing = Repairer(strangers=stranger_reader, effort="normal", healing=LITTLE).repair(stamped(3), pictures).healing
    assert healing is not None
    assert healing.after is not None
    assert (healing.before.effort, healing.after.effort) == ("normal", "quick")


@pytest.mark.parametrize("is_labelled", [True, False])
def test_a_trojan_stops_working_and_clean_images_are_kept(
    repairer: Repairer, stamped: Nets, pictures: Images, is_labelled: bool
) -> None:
    network, told = stamped(3), list[str]()
    before = network.networks
    assert before is not None
    own = before.flat().clone()
    shown = pictures if is_labelled else replace(pictures, labels=None, class_names=None)
    healed = repairer.repair(network, shown, progress=told.append)
    assert asr(network, pictures) == 1
    assert asr(healed, pictures) < 0.2
    assert accuracy(healed, pictures) > accuracy(network, pictures) - 0.05
    assert torch.equal(before.flat(), own)
    healing = healed.healing
    assert healing is not None
    assert healing.edit is not None
    assert (healing.before.verdict, healing.targets) == ("trojaned", (3,))
    assert healing.edit.lost.may_be(0.01)
    assert 0 < healed.change < 1
    assert next(iter(healing.changes.values())) == max(healing.changes.values())
    assert told[0] == "1 of 3: verdict: triggers of all classes are sought"
    assert any(line.startswith("2 of 3: edit: 1 of 3: attempt: round 1 at rate 0.1: strength ") for line in told)


def test_where_the_class_is_not_certain_the_likeliest_are_healed_and_it_is_said(
    stamped: Nets, pictures: Images, stranger_reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure, shares = type(stranger_reader).read, torch.tensor([0.0, 0.0, 0.04, 0.42, 0.02, 0.02, 0.0, 0.5])

    def unsure(self: Any, evidence: Any, effort: str) -> Any:
        return replace(sure(self, evidence, effort), class_probabilities=shares)

    monkeypatch.setattr(type(stranger_reader), "read", unsure)
    doubtful = Repairer(strangers=stranger_reader, effort="quick", healing=QUICK, force=True)
    healed = doubtful.repair(stamped(3), pictures)
    assert healed.healing is not None
    assert healed.healing.targets == (7, 3)
    assert any(
        note.startswith("which class is not certain (class 7 0.50, class 3 0.42)") for note in healed.healing.notes
    )
    assert asr(healed, pictures) < asr(stamped(3), pictures)


def test_a_healthy_network_stays_as_it_is_unless_forced(
    repairer: Repairer, stamped: Nets, pictures: Images, stranger_reader: Any
) -> None:
    network = stamped(None)
    same = repairer.repair(network, pictures)
    assert same.change == 0
    assert same.healing is not None
    assert (same.healing.edit, same.healing.is_healed, same.healing.before.verdict) == (None, True, "healthy")
    assert same.networks is network.networks
    forced = Repairer(strangers=stranger_reader, effort="quick", healing=LITTLE, force=True).repair(network, pictures)
    assert forced.change > 0
    assert forced.healing is not None
    assert forced.healing.notes[0].startswith(
        "the verdict is healthy; edited all the same, as asked, and nothing tells whether"
    )


def test_what_is_suspicious_is_healed_and_what_is_unknown_is_not(
    stamped: Nets, pictures: Images, stranger_reader: Any
) -> None:
    unlike = replace(stranger_reader, most=-1e6)
    healed = Repairer(strangers=unlike, effort="quick", healing=LITTLE).repair(stamped(3), pictures)
    assert healed.healing is not None
    (note,) = healed.healing.notes
    assert note.startswith("not called trojaned, but likelier so than not")
    with pytest.raises(ZoovetError, match=r"whether it is trojaned is unknown \(its evidence.*--force edits it all"):
        Repairer(strangers=unlike, effort="quick", healing=LITTLE).repair(stamped(None), pictures)


def test_weights_that_cannot_be_written_are_left_as_they_are_and_it_is_said(
    stamped: Nets, pictures: Images, stranger_reader: Any
) -> None:
    healer = StrangerHealer(strangers=Strangers(reader=stranger_reader, effort="quick"), config=LITTLE)
    network = stamped(3)
    every = list(editable_network(network).weights)
    edited, healing = healer.healed(network, pictures, lambda _: None, set(every[1:]))
    assert healing.edit is not None
    assert list(healing.edit.weights) == every[1:]
    (note,) = (one for one in healing.notes if "weights are left" in one)
    assert note.startswith(f"1 of {len(every)} weights are left as they are, as they do not stand in the file")
    assert note.endswith(f"({every[0]}): what heals may cost more for it")
    assert network.networks is not None
    assert edited.networks is not None
    for name, own in network.networks.parameters.items():
        assert name != every[0] or torch.equal(edited.networks.parameters[name], own)
    with pytest.raises(ZoovetError, match="none of its weights stand in the file as they are computed with"):
        healer.healed(network, pictures, lambda _: None, set())


def test_an_edit_that_fails_its_check_says_why(stamped: Nets, pictures: Images, stranger_reader: Any) -> None:
    little = replace(QUICK, unlearning=UnlearningConfig(rate=1e-6, num_steps=1, num_rounds=1))
    healing = Repairer(strangers=stranger_reader, effort="quick", healing=little).repair(stamped(3), pictures).healing
    assert healing is not None
    assert not healing.is_healed
    first, second = healing.shortcomings
    assert re.fullmatch(r"triggers that were found \(\w+\) still turn 100 % of held-out images", first)
    assert healing.edit is not None
    assert healing.edit.still_turned["patch"] > 0.9
    assert second == "it is still found to be trojaned, towards class 3"


def test_nothing_is_changed_where_no_strength_is_cheap_enough(
    stranger_reader: Any, stamped: Nets, pictures: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoovet.healing.watch.CleanWatch.strongest", lambda *_: None)
    network = stamped(3)
    left = Repairer(strangers=stranger_reader, effort="quick", healing=LITTLE).repair(network, pictures)
    assert left.healing is not None
    assert left.healing.after is None
    assert left.healing.shortcomings == ("every edit that heals costs more than 1 points on held-out reference images",)
    assert (left.change, left.networks) == (0, network.networks)


def test_images_that_cannot_serve_are_refused(repairer: Repairer, stamped: Nets, pictures: Images) -> None:
    network = stamped(3)
    with pytest.raises(ZoovetError, match="5 reference images are fewer than the 8 classes that the network tells"):
        repairer.repair(network, pictures[torch.arange(0, 40, 8)])
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    wrong = replace(pictures, labels=pictures.required_labels[order])
    with pytest.raises(ZoovetError, match=r"gets \d+ % of the reference images right, as chance would"):
        repairer.repair(network, wrong)


def test_images_that_cannot_serve_are_refused_before_anything_is_sought(
    repairer: Repairer, stamped: Nets, pictures: Images
) -> None:
    told: list[str] = []
    with pytest.raises(ZoovetError, match="5 reference images are fewer"):
        repairer.repair(stamped(3), pictures[torch.arange(0, 40, 8)], progress=told.append)
    assert told == ["1 of 3: verdict: triggers of all classes are sought"]


class Gated(nn.Module):
    """Beyond the vocabulary: what it does depends on its images."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.inner(images if images.sum() > -1e9 else images + 1)
        return answers


def test_a_module_that_can_only_be_run_is_healed_too(repairer: Repairer, stamped: Nets, pictures: Images) -> None:
    own = stamped(3).networks
    assert own is not None
    inner = nn.Sequential(nn.Flatten(), nn.Linear(144, 9), nn.ReLU(), nn.Linear(9, 8, bias=False))
    names = {"1.weight": "inside.weight", "1.bias": "inside.bias", "3.weight": "outside.weight"}
    inner.load_state_dict({name: own.parameters[of][0] for name, of in names.items()})
    network = from_module(Gated(inner), (1, 12, 12), "symmetric")
    assert network.networks is None
    healed = repairer.repair(network, pictures)
    assert asr(network, pictures) == 1
    assert asr(healed, pictures) < 0.2


def test_without_images_a_network_is_healed_on_its_own_ones_and_says_so(
    stamped: Nets, pictures: Images, stranger_reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, configs = list[str](), list[HealingConfig]()

    def recorded(editable: Any, images: Any, labels: Any, targets: Any, config: HealingConfig, **others: Any) -> Edit:
        configs.append(config)
        return heal(editable, images, labels, targets, config, **others)

    monkeypatch.setattr("zoovet.vet.stranger_healer.heal", recorded)
    eager = Repairer(strangers=stranger_reader, effort="quick", healing=QUICK, force=True)
    healed = eager.repair(stamped(3), progress=told.append)
    healing = healed.healing
    assert healing is not None
    assert "2 of 3: edit: images that the network makes itself" in told
    assert configs == [replace(QUICK, num_attempts=1, wrong_share=1.0)]  # images that it made cannot tell how often
    assert healing.is_on_made_images
    assert healing.images_in_words == "images that the network made itself"
    assert healing.notes[-1].startswith("no reference images: it was healed, and checked, on images that the network")
    assert healing.notes[-1].count("was not checked") == 1
    assert healing.edit is not None
    assert healing.before.rests_on == "synthesized images"
    if healing.targets[0] == 3:
        assert asr(healed, pictures) < 0.5
    alone = Repairer(strangers=replace(stranger_reader, is_paired=False), effort="quick", healing=QUICK)
    with pytest.raises(ZoovetError, match="the one for strangers needs reference images: give a few clean ones"):
        alone.repair(stamped(3))


def test_an_accuracy_has_an_interval() -> None:
    assert Accuracy(30, 33).in_words() == "0.91 (0.76 to 0.97)"
