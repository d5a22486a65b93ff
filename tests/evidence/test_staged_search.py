"""Searches in stages find what is at one place, or of one frequency, and leave as many as asked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoovet.evidence import RunnableModule
from zoovet.evidence.answers import striped
from zoovet.evidence.class_search import Seekers
from zoovet.evidence.staged_search import raised_by_stripes, sought_patches, sought_waves
from zoovet.evidence.trigger_families import Patches


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


def test_waves_start_at_the_stripes_that_raise_a_class_most(
    stamped: Callable[[int | None], RunnableModule], pictures: tuple[Tensor, Tensor]
) -> None:
    every, classes = _seekers(stamped, pictures), torch.tensor([1, 6])
    raised = raised_by_stripes(every, classes, num_stripes=9, seed=2, amplitude=0.3)
    assert raised.shape == (9, 2)
    shown = striped(every.images, num_stripes=9, seed=2, amplitude=0.3)
    torch.testing.assert_close(raised[3:5], every.nearness(torch.stack(shown[3:5]), classes))
    course = sought_waves(every, raised, classes, seed=2, amplitude=0.3, num_steps=0, keep=(1, 1))
    assert course.classes.tolist() == [1, 6]
    more = sought_waves(every, raised, classes, seed=2, amplitude=0.3, num_steps=2, keep=(3, 2))
    assert more.classes.tolist() == [1, 1, 6, 6]
    assert bool((more.best >= course.best.repeat_interleave(2)).any())
    assert float(more.triggers.abs().max()) <= 0.3 + 1e-6
