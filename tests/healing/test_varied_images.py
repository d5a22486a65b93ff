"""Reference images, varied: each stays an image of its set, and parts of it are enlarged within it."""

from __future__ import annotations

import pytest
import torch

from zoovet.healing.varied_images import enlarged_parts, varied


def test_images_are_moved_as_a_whole_where_none_is_mixed() -> None:
    image = torch.linspace(-1, 1, 28 * 28).view(1, 1, 28, 28)
    for mirrored, own in ((False, image), (True, image.flip(-1))):
        shown = varied(image.expand(300, -1, -1, -1), 0.0, mirrored, torch.Generator().manual_seed(0))
        inside = shown[..., 2:-2, 2:-2]
        moves = [
            (sign, down, right)
            for one in inside
            for sign, of in ((0, image), (1, own))
            for down in range(5)
            for right in range(5)
            if torch.equal(one, of[0, :, down : down + 24, right : right + 24])
        ]
        assert len({(down, right) for _, down, right in moves}) == 25
        assert {sign for sign, _, _ in moves} == {0, 1}


def test_the_share_that_is_said_is_mixed() -> None:
    images = torch.cat([torch.full((400, 1, 8, 8), -1.0), torch.full((400, 1, 8, 8), 1.0)])
    shown = varied(images, 0.5, False, torch.Generator().manual_seed(0))
    is_mixed = shown.flatten(1).std(1).gt(0) | shown.flatten(1).abs().lt(1).any(1)
    assert 0.2 < float(is_mixed.double().mean()) < 0.3  # half are mixed, half of these with others of the same shade
    darker, lighter = shown.flatten(1).mean(1).split(400)
    assert float(darker.amax()) <= 0.125  # of each half is left at least, but for sides that are rounded
    assert float(lighter.amin()) >= -0.125


@pytest.mark.parametrize("shape", [(1, 9, 9), (3, 32, 24)])
def test_parts_are_enlarged_and_coloured(shape: tuple[int, int, int]) -> None:
    _, height, width = shape
    down, across = torch.meshgrid(torch.linspace(-0.4, 0.4, height), torch.linspace(-0.4, 0.4, width), indexing="ij")
    for slope in (down, across):
        images = slope.expand(40, *shape)
        parts = enlarged_parts(images, torch.Generator().manual_seed(0))
        assert parts.shape == images.shape
        assert parts.abs().max() <= 1
        assert len(parts.flatten(1).unique(dim=0)) == 40
        spread = parts.flatten(1).amax(1) - parts.flatten(1).amin(1)
        assert float((spread < 0.8).double().mean()) > 0.6  # a part of it, but for contrast
        assert float(spread.min()) > 0.05
    flat = enlarged_parts(torch.full((40, *shape), 0.5), torch.Generator().manual_seed(0))
    assert torch.allclose(flat, flat[:, :1, :1, :1].expand_as(flat), atol=1e-5)
    assert ((flat - 0.5).abs() <= 0.2 + 1e-5).all()
    assert float((flat - 0.5).abs().amax()) > 0.1


def test_the_same_seed_draws_the_same() -> None:
    images = torch.rand(7, 3, 20, 20)
    for draw in (enlarged_parts, lambda own, generator: varied(own, 0.5, True, generator)):
        first, second, other = (draw(images, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)
