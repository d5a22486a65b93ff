"""What an edit costs on held-out images, and how strong it may be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoovet.healing import Editable, TriggerSearch
from zoovet.healing.watch import CleanWatch, bears_moves, held_out


def test_a_third_of_every_class_is_held_out() -> None:
    classes = torch.arange(4).repeat(9)
    learn, watch = held_out(classes, seed=1)
    assert sorted([*learn.tolist(), *watch.tolist()]) == list(range(36))
    assert classes[watch].bincount().tolist() == [3, 3, 3, 3]


def test_the_strength_is_the_largest_that_costs_no_more(editable: Editable, images: Tensor, labels: Tensor) -> None:
    watch = CleanWatch(editable, images, labels, is_moved=True)
    assert watch.num_right(editable.weights) == 40
    assert watch.lost(editable.weights) == 0
    wrong = dict(editable.weights)
    wrong["4.weight"] = -editable.weights["4.weight"]
    assert watch.lost(wrong) == 1
    found = watch.strongest(wrong, 0.01)
    assert found is not None
    strength, lost = found
    assert strength in (0.25, 0.4)  # at a half all answers are 0
    assert lost <= 0.01
    away = {name: own * torch.nan for name, own in editable.weights.items()}
    assert watch.strongest(away, 0.5) is None


def test_flips_are_counted_on_images_of_other_classes(editable: Editable, images: Tensor, labels: Tensor) -> None:
    search = TriggerSearch(images=images, taken=labels, unit=1.0, settings={})
    found = search.towards(editable.with_weights(editable.weights), 2, torch.Generator().manual_seed(0))
    watch = CleanWatch(editable, images, labels, is_moved=False)
    flips = watch.flips(editable.weights, found)
    assert flips == pytest.approx([one.flips for one in found], abs=0.3)
    assert max(flips) == 1


def test_moved_images_are_watched_where_the_network_takes_them_for_the_same(
    editable: Editable, images: Tensor, labels: Tensor
) -> None:
    assert bears_moves(editable, images, labels)
    assert not bears_moves(editable, images, (labels + 1) % 4)
