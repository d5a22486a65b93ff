"""Searches climb for every class by itself, on other classes' images only, whatever is run at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zoovet.evidence import RunnableModule
from zoovet.evidence.class_search import Seekers, halved, margins_of
from zoovet.evidence.trigger_families import Changes, Patches, places_of

MakeStamped = Callable[[int | None], RunnableModule]
SHAPE = (1, 12, 12)


@pytest.fixture
def seekers(stamped: MakeStamped, pictures: tuple[Tensor, Tensor]) -> Callable[..., Seekers]:
    """Makes what seeks triggers of a network with that target."""
    return lambda target, max_images=512: Seekers(stamped(target), *pictures, 4.0, max_images)


def test_a_margin_is_that_over_the_best_other() -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]])
    assert margins_of(logits, torch.tensor([2, 0])).tolist() == [-3.0, 1.0]


def test_looks_are_those_of_other_classes_images(seekers: Callable[..., Seekers]) -> None:
    own = seekers(None)
    family, classes = Changes(0.3), torch.tensor([2, 5])
    course = own.seek(family, classes, 2)
    assert course.values.shape == (2, 3, 3)
    looks = own.looks(course)
    for index, label in enumerate(classes.tolist()):
        others = own.images[own.labels != label]
        logits = own.network.logits((others + course.triggers[index]).clamp(-1, 1))[0]
        margins = margins_of(logits, torch.full((len(others),), label))
        expected = [margins.mean() / 4, (margins > 0).float().mean(), logits.softmax(1)[:, label].mean()]
        torch.testing.assert_close(looks[index], torch.stack(expected))
    assert bool((course.values[:, -1, 0] > course.values[:, 0, 0]).all())
    torch.testing.assert_close(course.best, looks[:, 0])


def test_weak_triggers_go_part_of_the_way(seekers: Callable[..., Seekers]) -> None:
    own, classes = seekers(3), torch.arange(8)
    course = own.seek(Changes(0.3), classes, 2)
    whole, half, none = (own.looks(course, strength)[:, 0] for strength in (1.0, 0.5, 0.0))
    assert bool((whole > half).all())
    assert bool((half > none).all())
    others = own.images[own.labels != 2]
    halfway = (others + (others + course.triggers[2]).clamp(-1, 1)) / 2
    logits = own.network.logits(halfway)[0]
    expected = margins_of(logits, torch.full((len(others),), 2)).mean() / 4
    torch.testing.assert_close(half[2], expected)


def test_what_is_run_at_once_changes_nothing(seekers: Callable[..., Seekers]) -> None:
    places = places_of(3, SHAPE, 2).repeat(8, 1)
    classes = torch.arange(8).repeat_interleave(4)
    whole, parts = (seekers(3, count).seek(Patches(3, places), classes, 2) for count in (10_000, 50))
    torch.testing.assert_close(parts.values, whole.values, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts.triggers, whole.triggers)


def test_of_all_places_the_stamps_own_is_kept(seekers: Callable[..., Seekers]) -> None:
    places = places_of(3, SHAPE, 3)
    own = seekers(3)
    course = own.seek(Patches(3, places.repeat(8, 1)), torch.arange(8).repeat_interleave(len(places)), 2)
    best = halved(course, 8, 2)
    assert best.classes.tolist() == [label for label in range(8) for _ in range(2)]
    assert isinstance(best.family, Patches)
    assert best.family.places[6].tolist() == [9, 9]
    assert float(best.best[6]) == float(course.best.max())


def test_how_evenly_a_trigger_works(seekers: Callable[..., Seekers]) -> None:
    own, classes = seekers(3), torch.tensor([3, 6])
    course = own.seek(Changes(0.3), classes, 2)
    means, spread = own.found(course)
    torch.testing.assert_close(means, own.looks(course))
    for index, label in enumerate(classes.tolist()):
        logits = own.network.logits((own.images + course.triggers[index]).clamp(-1, 1))[0]
        margins = margins_of(logits, torch.full((len(logits),), label)) / 4
        others = own.labels != label
        low, deviation, least = spread[index].tolist()
        assert low == pytest.approx(float(margins[others].quantile(0.1)), abs=1e-5)
        assert deviation == pytest.approx(float(margins[others].std(correction=0)), abs=1e-5)
        shares = [float((margins[own.labels == other] > 0).float().mean()) for other in range(8) if other != label]
        assert least == pytest.approx(min(shares))
