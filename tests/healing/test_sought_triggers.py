"""Triggers of every kind are sought towards a class, within bounds that leave images what they show."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from zoovet.evidence import ClassEvidenceConfig, RunnableModule, class_evidence
from zoovet.evidence.bounds import BOUNDED_KINDS, bounds_in, usual_bound
from zoovet.evidence.class_search import Course, Seekers
from zoovet.evidence.stripe_bank import centered_stripes
from zoovet.evidence.trigger_families import Changes, Pixels, SmoothChanges
from zoovet.healing import Editable, TriggerSearch
from zoovet.healing.sought_triggers import usual_bounds, usually_turned
from zoovet.networks import ZOO_SCALING


def search(images: Tensor, labels: Tensor, **bounds: float) -> TriggerSearch:
    return TriggerSearch(images=images, taken=labels, unit=1.0, bounds=bounds)


def test_all_kinds_are_sought_and_the_true_one_turns_all(editable: Editable, images: Tensor, labels: Tensor) -> None:
    network, generator = editable.with_weights(editable.weights), torch.Generator().manual_seed(0)
    found = search(images, labels).towards(network, 2, generator)
    assert {one.kind for one in found} == {"patch", "pixels", "change", "smooth", "blend", "warp", "stripes"}
    assert all(one.target == 2 for one in found)
    best = max((one for one in found if one.kind == "patch"), key=lambda one: one.flips)
    assert best.flips == pytest.approx(1)
    others = images[labels != 2]
    assert bool((editable.logits(editable.weights, best.put(others)).argmax(1) == 2).all())
    assert search(images[labels == 2], labels[labels == 2]).towards(network, 2, generator) == []


def test_what_evidence_says_bounds_a_search_and_nothing_erases_images(
    editable: Editable, images: Tensor, labels: Tensor
) -> None:
    network = editable.with_weights(editable.weights)
    wide = {"pixels": 60.0, "change": 1.6, "smooth": 1.6}
    small = {"pixels": 2.0, "change": 0.1, "smooth": 0.1}
    bounds = []
    for settings in (wide, small):
        found = search(images, labels, **settings).towards(network, 2, torch.Generator().manual_seed(0))
        each = {type(one.family): one.family for one in found}
        pixels, change, smooth = (each[kind] for kind in (Pixels, Changes, SmoothChanges))
        assert isinstance(pixels, Pixels)
        assert isinstance(change, Changes)
        assert isinstance(smooth, SmoothChanges)
        bounds.append((pixels.num_pixels, change.bound, smooth.bound))
    assert bounds == [(5, 0.3, 0.5), (2, 0.1, 0.1)]


def test_what_erases_images_is_told_from_what_does_not(editable: Editable, images: Tensor, labels: Tensor) -> None:
    found = search(images, labels).towards(editable.with_weights(editable.weights), 2, torch.Generator().manual_seed(0))
    patch = max((one for one in found if one.kind == "patch"), key=lambda one: one.flips)
    assert patch.is_bearable
    assert not replace(patch, bearable=0.4).is_bearable
    others = images[labels != 2]
    opposite = editable.logits(editable.weights, replace(patch, values=-patch.values).put(others)).argmax(1)
    assert float((opposite == labels[labels != 2]).double().mean()) >= 0.9


def test_bounds_that_nobody_knows_are_those_of_the_network(editable: Editable, images: Tensor, labels: Tensor) -> None:
    every = Seekers(editable.with_weights(editable.weights), images, labels, 1.0)
    with torch.no_grad():
        found = usual_bounds(every, bounds_in({"change_0.5": 0.2, "patch_0.2": 5.0}), torch.Generator().manual_seed(0))
        few = every.on(torch.arange(0, len(labels), len(labels) // 6))
        flips = every.seek(SmoothChanges(found["smooth"]), torch.arange(4), 2).values[:, -1, 1]
        assert usual_bound(few, torch.arange(4), "warp") <= 0.25
    assert found["change"] == pytest.approx(0.4)
    assert set(found) == {"pixels", "change", "smooth"}
    assert 0.1 < float(flips.quantile(0.5)) < 0.9


def test_the_stripes_that_were_planted_are_found(images: Tensor) -> None:
    """Takes an image for class 1 where it holds much of one wave, else for 0 or 2 by its brightness."""
    places = torch.arange(16.0) / 16
    wave = torch.sin(2 * math.pi * (3.3 * places[None, :] + 1.8 * places[:, None]) + 0.4).expand(1, 16, 16)

    class Reader(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            held, bright = (images * wave).mean((1, 2, 3)), images.mean((1, 2, 3))
            return torch.stack([10 * bright, 100 * held - 5, -10 * bright], dim=1)

    noise = 0.05 * torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    shown = noise + torch.tensor([0.4, -0.4]).repeat(3).view(-1, 1, 1, 1)
    network = RunnableModule(Reader(), (1, 16, 16), ZOO_SCALING)
    found = search(shown, torch.tensor([0, 2]).repeat(3)).towards(network, 1, torch.Generator().manual_seed(0))
    striped = [one for one in found if one.kind == "stripes"]
    best = max(striped, key=lambda one: one.flips)
    assert best.flips == 1
    assert max(float((centered_stripes(one.values, shown[0])[0] * wave).mean()) for one in striped) > 0.4  # of a half
    assert {one.bearable for one in striped} == {1.0}
    turned = best.shifted(torch.Generator().manual_seed(1)).values - best.values
    assert torch.equal(turned[..., :2], torch.zeros(1, 1, 1, 2))
    assert float(turned[..., 2].abs()) > 0


def test_what_a_scan_found_is_taken_but_what_goes_as_far_as_the_network_lets_it(
    editable: Editable, images: Tensor, labels: Tensor
) -> None:
    network = editable.with_weights(editable.weights)
    with torch.no_grad():
        found = class_evidence(network, images, labels, ClassEvidenceConfig(images_per_class=4))
    joined = replace(search(images, labels), courses=found.courses).known(network, 2)
    assert {one.kind for one in joined} == {"patch", "stripes", "blend", "warp"}
    bounded = sum(name.rpartition("_")[0] in BOUNDED_KINDS for name in found.courses)
    assert len(joined) == len(found.courses) - bounded > 0
    assert all(one.target == 2 for one in joined)
    best = max((one for one in joined if one.kind == "patch"), key=lambda one: one.flips)
    others = images[labels != 2]
    assert bool((editable.logits(editable.weights, best.put(others)).argmax(1) == 2).all())


def test_what_turns_more_than_such_triggers_usually_do_is_unusual(
    editable: Editable, images: Tensor, labels: Tensor
) -> None:
    """Of four classes the third is suspected; of the others the middle one tells what is usual."""
    values = torch.zeros(4, 2, 3)
    values[:, 1, 0] = 1.0
    values[:, 1, 1] = torch.tensor([0.3, 0.1, 0.9, 0.2])
    course = Course(torch.arange(4), Changes(0.1), torch.zeros(4, 1, 8, 8), values)
    weak = replace(course, values=0.5 * values)
    usual = usually_turned({"usual_patch_0.2": weak, "patch_0.2": course, "blend_0.12": weak}, [2])
    assert usual == {"patch": pytest.approx(0.2), "blend": pytest.approx(0.1)}
    assert usually_turned({"patch_0.2": course}, [0, 1, 2, 3]) == {}
    sought = replace(search(images, labels), usual={"patch": 0.6})
    found = sought.towards(editable.with_weights(editable.weights), 2, torch.Generator().manual_seed(0))
    best = max((one for one in found if one.kind == "patch"), key=lambda one: one.flips)
    assert (best.usual, best.unusual) == (0.6, pytest.approx((best.flips - 0.6) / 0.4))
    assert replace(best, flips=0.5).unusual == 0
    assert all(one.unusual == one.flips for one in found if one.kind != "patch")
