"""Losses of an edit, against their definitions on one network and image at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from zoovet.images import Images, PatchTrigger
from zoovet.networks import Networks, run
from zoovet.tasks.image_pool import ImagePool
from zoovet.tasks.repair_losses import function_losses

ALL_TO_ONE = PatchTrigger.of_size("white", 3, row=1, col=2, target=4)
ALL_TO_ALL = replace(ALL_TO_ONE, labelling="all_to_all", target=None, num_classes=10)


@pytest.fixture
def pool(images: Images) -> ImagePool:
    return ImagePool.split(images, 100, seed=0)[0]


def drawn(pool: ImagePool) -> tuple[Tensor, Tensor]:
    """The images and labels that the losses below are computed on."""
    return pool.draw(3, 12, torch.Generator().manual_seed(6))


def test_they_are_what_they_say(pool: ImagePool, suspects: list[Networks]) -> None:
    own, triggers = suspects[0], [ALL_TO_ONE, None, ALL_TO_ALL]
    edited = own.map(lambda tensor: 1.1 * tensor)
    siblings = own.map(lambda tensor: 0.9 * tensor)
    images, labels = drawn(pool)
    found = function_losses(own, edited, siblings, triggers, (images, labels), 5)
    for place, trigger in enumerate(triggers):
        clean, rest, marks = images[place, :5], images[place, 5:], labels[place, 5:].tolist()
        before, after, healthy = (run(some[place], clean)[0].softmax(1) for some in (own, edited, siblings))
        on_rest = run(edited[place], rest if trigger is None else trigger.apply(rest))[0].softmax(1)
        own_marks = labels[place, :5].tolist()
        assert float(found.clean[place]) == pytest.approx(
            sum(-after[k, label].log().item() for k, label in enumerate(own_marks)) / 5, rel=1e-4
        )
        assert float(found.triggered[place]) == pytest.approx(
            sum(-on_rest[k, label].log().item() for k, label in enumerate(marks)) / 7, rel=1e-4
        )
        assert float(found.told[place]) == pytest.approx(float(-(healthy * after.log()).sum(1).mean()), rel=1e-4)
        healthy_on_rest = run(siblings[place], rest if trigger is None else trigger.apply(rest))[0].softmax(1)
        assert float(found.triggered_told[place]) == pytest.approx(
            float(-(healthy_on_rest * on_rest.log()).sum(1).mean()), rel=1e-4
        )
        logits = run(edited[place], clean)[0].tolist()
        leads = [max(row[:mark] + row[mark + 1 :]) - row[mark] for row, mark in zip(logits, own_marks, strict=True)]
        assert float(found.wrong[place]) == pytest.approx(
            sum(1 / (1 + math.exp(-3 * lead)) for lead in leads) / 5, rel=1e-4
        )
        wanted = [label if trigger is None else (4 if trigger is ALL_TO_ONE else (label + 1) % 10) for label in marks]
        attacked = [
            -(1 - on_rest[k, aim]).log().item()
            for k, (aim, label) in enumerate(zip(wanted, marks, strict=True))
            if aim != label
        ]
        assert len(attacked) == {0: sum(mark != 4 for mark in marks), 1: 0, 2: 7}[place]
        assert float(found.attacked[place]) == pytest.approx(sum(attacked) / max(1, len(attacked)), rel=1e-4)
        assert float(found.kept[place]) == pytest.approx(
            float((before * (before.log() - after.log())).sum(1).mean()), rel=1e-3, abs=1e-6
        )


def test_an_attack_that_is_certain_has_a_finite_loss_that_falls(pool: ImagePool, suspects: list[Networks]) -> None:
    own = suspects[0][:1]
    biases = own.biases[-1].clone()
    biases[:, 4] = 200.0
    certain = Networks.from_layers(own.graph, own.weights, (*own.biases[:-1], biases.requires_grad_()))
    loss = function_losses(own, certain, own, [ALL_TO_ONE], (drawn(pool)[0][:1], drawn(pool)[1][:1]), 5).attacked
    assert 100 < float(loss.detach()) < 300
    loss.sum().backward()
    assert biases.grad is not None
    assert float(biases.grad[0, 4]) == pytest.approx(1.0, abs=1e-3)
