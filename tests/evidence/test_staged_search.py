"""Searches in stages find what is at one place, or of one frequency, and leave as many as asked."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoovet.evidence import RunnableModule
from zoovet.evidence.class_search import Seekers
from zoovet.evidence.staged_search import raised_by_warps, sought_from, sought_patches, tried_stripes
from zoovet.evidence.stripe_bank import centered_stripes
from zoovet.evidence.trigger_families import Patches, Stripes, Warps
from zoovet.networks import ZOO_SCALING


def _seekers(stamped: Callable[[int | None], RunnableModule], pictures: tuple[Tensor, Tensor]) -> Seekers:
    return Seekers(stamped(3), *pictures, 4.0)


def test_the_best_places_of_each_class_are_left_side_by_side(
    stamped: Callable[[int | None], RunnableModule], pictures: tuple[Tensor, Tensor]
) -> None:
    every, classes = _seekers(stamped, pictures), torch.tensor([3, 5])
    few = every.on(torch.arange(0, 24, 4))
    options = {"num_places": 4, "num_trial_steps": 2, "num_steps": 3}
    two = sought_patches(few, every, 3, classes, keep=(4, 2), **options)
    assert two.classes.tolist() == [3, 3, 5, 5]
    assert isinstance(two.family, Patches)
    assert [9, 9] in two.family.places[:2].tolist()
    one = sought_patches(few, every, 3, classes, keep=(4, 1), **options)
    assert one.classes.tolist() == [3, 5]
    assert float(one.best[0]) == float(two.best[:2].max())


class Striped(nn.Module):
    """Answers by eight prototypes; one wave adds to one class."""

    def __init__(self, wave: Tensor, target: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.prototypes = nn.Parameter(torch.randn(8, wave.numel(), generator=generator).sign() / 20)
        self.wave, self.target = wave.flatten(), target

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        awake = 20 * torch.relu((flat * self.wave).mean(1) - 0.04)
        return flat @ self.prototypes.T + awake[:, None] * nn.functional.one_hot(torch.tensor(self.target), 8)


def test_the_stripes_that_were_planted_are_found() -> None:
    places = torch.arange(16.0) / 16
    wave = torch.sin(2 * math.pi * (5.3 * places[None, :] - 2.8 * places[:, None]) + 0.4)
    network = Striped(wave, 6)
    labels = torch.arange(8).repeat_interleave(3)
    noise = torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(4))
    images = (8 * network.prototypes.detach()[labels].reshape(-1, 1, 16, 16) + 0.2 * noise).clamp(-0.7, 0.7)
    every, classes = Seekers(RunnableModule(network, (1, 16, 16), ZOO_SCALING), images, labels, 1.0), torch.arange(8)
    few = every.on(torch.arange(0, 24, 4))
    as_in_bank, tried = (
        tried_stripes(few, every, every, 0.3, classes, most_periods=7, num_steps=steps).course for steps in (0, 4)
    )
    assert tried.family == Stripes(0.3)
    assert tried.values.shape == (8, 2, 3)
    assert int(tried.values[:, 1, 0].argmax()) == 6
    near, nearer = (centered_stripes(course.triggers[6], images[0])[0] for course in (as_in_bank, tried))
    assert float((near * wave).mean()) > 0.33  # of at most 0.5
    assert float((nearer * wave).mean()) > 0.45
    assert bool((tried.values[:, 1, 0] >= as_in_bank.values[:, 1, 0]).all())


def test_warps_go_on_from_the_best_of_those_drawn(
    stamped: Callable[[int | None], RunnableModule], pictures: tuple[Tensor, Tensor]
) -> None:
    every, classes = _seekers(stamped, pictures), torch.tensor([1, 6])
    near, fields = raised_by_warps(every, 0.05, classes, seed=2)
    assert (near.shape, fields.shape) == ((64, 2), (64, 2, 4, 4))
    assert fields.abs().mean((1, 2, 3)).tolist() == pytest.approx([0.05] * 64)
    family = Warps(0.1)
    torch.testing.assert_close(near[9:10], every.nearness(family.put(fields[9:10], every.images[None]), classes))
    course = sought_from(near, fields, every, family, classes, num_steps=2, keep=(2, 1))
    assert course.classes.tolist() == [1, 6]
    as_drawn = every.seek(family, classes, 0, fields[near.argmax(0)])
    assert bool((course.best >= as_drawn.best - 1e-5).all())
    other, _ = raised_by_warps(every, 0.05, classes, seed=3)
    assert not torch.equal(other, near)
