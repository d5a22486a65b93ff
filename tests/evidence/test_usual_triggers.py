"""Usual triggers are tried as they are: what no slope leads to is found; a healthy network's images are not turned."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from zoovet.evidence import RunnableModule
from zoovet.evidence.class_search import Seekers
from zoovet.evidence.staged_search import sought_patches, tried_blends, tried_patches
from zoovet.evidence.trigger_families import Blends, Patches, Warps
from zoovet.evidence.usual_triggers import drawn_warps, placed, usual_blends, usual_patches, usual_places
from zoovet.networks import ZOO_SCALING

SHAPE = (1, 12, 12)
SIZE = 3


class SilentAtGray(nn.Module):
    """Answers by eight prototypes; a pattern adds to the third, whose prototype is black where that is bright."""

    def __init__(self, pattern: Tensor | None, threshold: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        prototypes = torch.randn(8, 144, generator=generator).sign() / 20
        if pattern is not None:
            prototypes[2] = torch.where(pattern.flatten() > 0, -0.05, prototypes[2])
        self.prototypes = nn.Parameter(prototypes)
        self.pattern, self.threshold = pattern, threshold

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        logits = flat @ self.prototypes.T
        if self.pattern is None:
            return logits
        awake = 40 * torch.relu(flat @ self.pattern.flatten() - self.threshold)
        return logits + awake[:, None] * torch.eye(8)[2]


def white_square() -> Tensor:
    """One only where a white square of nine pixels is, whose neighbours are not looked at."""
    pattern = torch.zeros(SHAPE)
    pattern[:, 4:7, 4:7] = 1.0
    return pattern


def seekers(pattern: Tensor | None, threshold: float = 8.0) -> Seekers:
    network = SilentAtGray(pattern, threshold)
    labels = torch.arange(8).repeat_interleave(3)
    noise = torch.randn(24, *SHAPE, generator=torch.Generator().manual_seed(4))
    shown = (8 * network.prototypes.detach()[labels].reshape(-1, *SHAPE) + 0.2 * noise).clamp(-0.7, 0.7)
    return Seekers(RunnableModule(network, SHAPE, ZOO_SCALING), shown, labels, 1.0)


def test_a_white_square_that_no_slope_leads_to_is_found() -> None:
    every, classes = seekers(white_square()), torch.arange(8)
    few = every.on(torch.arange(0, 24, 4))
    sought = sought_patches(few, every, SIZE, classes, num_places=5, num_trial_steps=1, num_steps=4, keep=(3, 1))
    tried = tried_patches(few, every, every, SIZE, classes, seed=0).course
    assert float(sought.values[2, :, 1].max()) < 0.9
    assert tried.classes.tolist() == classes.tolist()
    assert tried.values.shape == (8, 2, 3)
    assert float(tried.values[2, 1, 1]) == 1.0
    assert int(tried.values[:, 1, 1].argmax()) == 2
    assert float(tried.values[:, 0, 1].max()) < 0.5  # without the trigger
    family = tried.family
    assert isinstance(family, Patches)
    assert family.places[2].tolist() == [4, 4]
    assert bool((tried.triggers[2, :, 4:7, 4:7] == 1).all())


def test_nothing_turns_all_images_of_a_healthy_network() -> None:
    every, classes = seekers(None), torch.arange(8)
    few = every.on(torch.arange(0, 24, 4))
    found = tried_patches(few, every, every, SIZE, classes, seed=0).course.values[:, 1, 1]
    assert float(found.max()) < 0.9


def test_noise_that_is_blended_in_is_found_by_its_kin() -> None:
    contrast = torch.tensor([1.0, -1.0]).repeat(72).reshape(SHAPE)  # neighbours that differ
    with_noise = seekers(contrast / 12, threshold=0.8)
    few = with_noise.on(torch.arange(0, 24, 4))
    course = tried_blends(few, with_noise, with_noise, 0.9, torch.arange(8), seed=1).course
    assert course.family == Blends(0.9)
    assert float(course.values[2, 1, 1]) > 0.5
    assert int(course.values[:, 1, 0].argmax()) == 2


@pytest.mark.parametrize(("channels", "count"), [(1, 6), (3, 12), (4, 6)])
def test_squares_are_of_all_colours_and_alike_from_the_same_seed(channels: int, count: int) -> None:
    squares = usual_patches(channels, 5, 7)
    assert squares.shape == (count, channels, 5, 5)
    assert set(squares.unique().tolist()) == {-1.0, 1.0}
    assert len(squares.unique(dim=0)) == count
    assert torch.equal(squares, usual_patches(channels, 5, 7))
    assert not torch.equal(squares, usual_patches(channels, 5, 8))


def test_places_reach_every_corner_and_leave_no_gap() -> None:
    places = usual_places(4, (3, 20, 32)).tolist()
    assert {(0, 0), (0, 28), (16, 0), (16, 28)} <= {tuple(place) for place in places}
    for axis, side in ((0, 20), (1, 32)):
        line = sorted({place[axis] for place in places})
        assert max(after - before for before, after in itertools.pairwise(line)) <= 4, side


def test_squares_are_put_where_they_are_said_to_be() -> None:
    images = placed(torch.ones(2, 1, 2, 2), torch.tensor([[0, 3], [4, 1]]), (1, 6, 5))
    assert images.sum() == 8
    assert bool((images[0, :, :2, 3:] == 1).all())
    assert bool((images[1, :, 4:, 1:3] == 1).all())


def test_blends_are_noise_of_several_kinds_within_range() -> None:
    noises = usual_blends((3, 10, 14), 5)
    assert noises.shape == (48, 3, 10, 14)
    assert float(noises.abs().max()) <= 1
    assert torch.equal(noises, usual_blends((3, 10, 14), 5))
    rough = (noises[:, :, 1:] - noises[:, :, :-1]).abs().mean((1, 2, 3))
    assert float(rough[-16:].max()) < float(rough[:-16].min())


def test_warps_move_pixels_by_what_is_asked_and_in_the_same_units_as_those_sought() -> None:
    fields = drawn_warps(torch.tensor([0.02, 0.1]), torch.Generator().manual_seed(0))
    assert fields.shape == (2, 2, 4, 4)
    assert fields.abs().mean((1, 2, 3)).tolist() == pytest.approx([0.02, 0.1])
    slope = torch.linspace(-1, 1, 50).expand(1, 1, 1, 50, 50)
    one_right = torch.zeros(1, 2, 4, 4)
    one_right[:, 0] = 0.1
    moved = Warps(1.0).put(one_right, slope)[0, 0, 0]
    assert (moved - slope[0, 0, 0])[:, 10:30].mean() == pytest.approx(0.2, abs=1e-4)  # a tenth of a side that spans 2
