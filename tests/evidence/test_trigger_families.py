"""What is put on images is what the family says, and stays within its bounds; places reach every corner."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoovet.evidence.trigger_families import (
    Blends,
    Changes,
    Patches,
    Pixels,
    SmoothChanges,
    TriggerFamily,
    Warps,
    places_of,
)

SHAPE = (2, 8, 10)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


def test_patches_take_the_place_of_pixels_and_of_no_others() -> None:
    family = Patches(3, torch.tensor([[0, 7], [5, 2]]))
    triggers, images = drawn(2, *SHAPE), drawn(2, 4, *SHAPE, seed=1)
    put = family.put(triggers, images)
    for index, (top, left) in enumerate(family.places.tolist()):
        expected = images[index].clone()
        square = (slice(None), slice(top, top + 3), slice(left, left + 3))
        expected[(slice(None), *square)] = triggers[index][square]
        torch.testing.assert_close(put[index], expected)
    assert family.chosen(torch.tensor([1])).places.tolist() == [[5, 2]]


def test_blends_are_weighted_means() -> None:
    triggers, images = drawn(2, *SHAPE), drawn(2, 4, *SHAPE, seed=1)
    torch.testing.assert_close(Blends(0.3).put(triggers, images), 0.7 * images + 0.3 * triggers[:, None])


@pytest.mark.parametrize(
    ("family", "reach"),
    [
        (Changes(0.3), 0.3),
        (Blends(0.2), 1.0),
        (SmoothChanges(0.2), 0.2),
        (Pixels(5), 2.0),
        (Patches(3, torch.tensor([[1, 1]] * 3)), 1.0),
        (Warps(0.1), 0.1),
    ],
)
def test_steps_climb_and_keep_within_bounds(family: TriggerFamily, reach: float) -> None:
    images, wanted = 0.2 * drawn(3, 4, *SHAPE, seed=1), drawn(*SHAPE, seed=2)
    triggers = family.start(3, images[0, 0])
    seen = []
    for share in (1.0, 0.5, 0.5):
        own = triggers.detach().requires_grad_()
        total = (family.put(own, images) * wanted).sum()
        seen.append(float(total.detach()))
        triggers = family.moved(triggers, torch.autograd.grad(total, own)[0], share)
        assert 0 < float(triggers.abs().max()) <= reach + 1e-6
    assert seen[-1] > seen[0]
    assert float(family.put(triggers, images).abs().max()) <= 1


def test_masks_have_a_bounded_area_that_moves_to_where_it_matters() -> None:
    slopes = torch.zeros(1, *SHAPE)
    slopes[0, :, 2, 3], slopes[0, :, 4, 4], slopes[0, :, 0, 0] = 1.0, 0.5, 0.1
    moved = Pixels(2).moved(torch.zeros(1, *SHAPE), slopes, 1.0)
    assert moved.abs().sum(1)[0].nonzero().tolist() == [[2, 3], [4, 4]]
    again = Pixels(2).moved(moved, 10 * slopes.flip(2), 1.0)
    assert again.abs().sum(1)[0].nonzero().tolist() != [[2, 3], [4, 4]]


def test_places_are_even_and_reach_every_corner() -> None:
    places = places_of(3, SHAPE, 4)
    assert len(places) == 16
    for corner in ([0, 0], [0, 7], [5, 0], [5, 7]):
        assert corner in places.tolist()
    assert places_of(8, SHAPE, 4).tolist() == [[0, 0], [0, 1], [0, 2]]
    assert places_of(10, (1, 10, 10), 4).tolist() == [[0, 0]]


def test_warps_move_pixels_by_a_share_of_the_side() -> None:
    images = drawn(1, 3, 2, 21, 11)
    field = torch.zeros(1, 2, 4, 4)
    field[:, 1] = 0.1  # along rows: a tenth of 20 steps from the first pixel to the last
    put = Warps(0.2).put(field, images)
    torch.testing.assert_close(put[0, :, :, :19], images[0, :, :, 2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(put[0, :, :, 19:], images[0, :, :, -1:].expand(-1, -1, 2, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(Warps(0.2).put(0 * field, images), images, atol=1e-5, rtol=0)
    assert Warps(0.2).start(3, images[0, 0]).shape == (3, 2, 4, 4)
