"""What an edit costs on held-out images, and how strong it may be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoovet.healing import Editable, TriggerSearch
from zoovet.healing.watch import CleanLoss, CleanWatch, Views, held_out, views_of


def test_a_third_of_every_class_is_held_out() -> None:
    classes = torch.arange(4).repeat(9)
    learn, watch = held_out(classes, seed=1)
    assert sorted([*learn.tolist(), *watch.tolist()]) == list(range(36))
    assert classes[watch].bincount().tolist() == [3, 3, 3, 3]


def test_the_strength_is_the_largest_that_may_cost_no_more(editable: Editable, images: Tensor, labels: Tensor) -> None:
    watch = CleanWatch(editable, images, labels, Views(moved=True, mirrored=False))
    assert watch.num_right(editable.weights) == 40
    assert watch.lost(editable.weights).share == pytest.approx(0, abs=1e-3)
    wrong = dict(editable.weights)
    wrong["4.weight"] = -editable.weights["4.weight"]
    assert watch.lost(wrong).share > 0.5
    found = watch.strongest(wrong, 0.01)
    assert found is not None
    strength, lost = found
    assert strength in (0.25, 0.4)  # at a half all answers are 0
    assert lost.share - lost.error <= 0.01
    away = {name: own * torch.nan for name, own in editable.weights.items()}
    assert watch.strongest(away, 0.5) is None


def test_a_network_that_is_less_sure_has_lost_nothing(editable: Editable, images: Tensor, labels: Tensor) -> None:
    watch = CleanWatch(editable, images, labels, Views(moved=False, mirrored=False))
    modest = {name: own * (0.3 if name.startswith("4.") else 1.0) for name, own in editable.weights.items()}
    assert watch.lost(modest).share == pytest.approx(0, abs=1e-3)


def test_a_loss_may_be_less_by_its_error_but_by_two_points_at_most() -> None:
    assert CleanLoss(share=0.03, error=0.02).may_be(0.011)
    assert not CleanLoss(share=0.03, error=0.01).may_be(0.011)
    assert not CleanLoss(share=0.05, error=0.05).may_be(0.01)


def test_flips_are_counted_on_images_of_other_classes(editable: Editable, images: Tensor, labels: Tensor) -> None:
    search = TriggerSearch(images=images, taken=labels, unit=1.0, bounds={})
    found = search.towards(editable.with_weights(editable.weights), 2, torch.Generator().manual_seed(0))
    watch = CleanWatch(editable, images, labels, Views(moved=False, mirrored=False))
    flips = watch.flips(editable.weights, found)
    assert flips == pytest.approx([one.flips for one in found], abs=0.3)
    assert max(flips) == 1


def test_views_are_those_that_the_network_takes_for_the_same(
    editable: Editable, images: Tensor, labels: Tensor
) -> None:
    assert views_of(editable, images, labels) == Views(moved=True, mirrored=False)  # mirrored quarters are others
    assert views_of(editable, images, (labels + 1) % 4) == Views(moved=False, mirrored=False)
    assert len(Views(moved=True, mirrored=True).of(images)) == 6
    assert torch.equal(Views(moved=False, mirrored=True).of(images)[1], images.flip(-1))
