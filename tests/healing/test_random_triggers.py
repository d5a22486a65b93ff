"""Triggers drawn at random: each image has its own, and stays an image."""

from __future__ import annotations

import pytest
import torch

from zoovet.healing.random_triggers import with_random_triggers


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 24)])
def test_as_many_are_warped_blended_striped_and_patched(shape: tuple[int, int, int]) -> None:
    images = (2 * torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)) - 1).expand(40, -1, -1, -1)
    shown = with_random_triggers(images, torch.Generator().manual_seed(1))
    assert shown.shape == images.shape
    assert shown.abs().max() <= 1
    assert len(shown.flatten(1).unique(dim=0)) == 40
    gray = with_random_triggers(torch.zeros_like(images), torch.Generator().manual_seed(1))
    warped, blended, striped, patched = gray.split(10)
    assert not warped.any()  # nothing to move
    assert (blended.abs().amax((1, 2, 3)) > 0.02).all()
    assert (blended.abs() <= 0.3).all()
    assert ((striped.abs().amax((1, 2, 3)) > 0.09) & (striped.abs().amax((1, 2, 3)) <= 0.5)).all()
    assert torch.equal(striped, striped[:, :1].expand_as(striped))
    assert set(patched.unique().tolist()) <= {-1.0, 0.0, 1.0}
    areas = patched[:, 0].ne(0).sum((1, 2))
    assert ((areas >= 4) & (areas <= 0.25**2 * shape[1] * shape[2] + 1)).all()
    sides = [[int(one.ne(0).any(axis).sum()) for axis in (0, 1)] for one in patched[:, 0]]
    assert all(
        down == across and down * across == area for (down, across), area in zip(sides, areas.tolist(), strict=True)
    )


def test_the_same_seed_draws_the_same() -> None:
    images = torch.rand(7, 3, 20, 20)
    first, second, other = (with_random_triggers(images, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
