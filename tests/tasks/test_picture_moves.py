"""A SIREN whose picture is moved shows the moved picture: checked against the function at moved places."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, mlp, run, siren
from zoovet.tasks.picture_moves import PictureMoveConfig, move_pictures
from zoovet.zoo.inr_pictures import coordinates, pictures

GRAPH = siren((2, 8, 8, 1))


@pytest.fixture
def sirens() -> Networks:
    flat = 0.1 * torch.randn(6, GRAPH.num_parameters, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Networks.from_flat(GRAPH, flat)


def moved(networks: Networks, seed: int = 0, **options: Any) -> Networks:
    return move_pictures(networks, PictureMoveConfig(**options), torch.Generator().manual_seed(seed))


def affine(networks: Networks, after: Networks) -> tuple[torch.Tensor, torch.Tensor]:
    """A [B, 2, 2] and t [B, 2] with after(x) = networks(A x + t), from the first layers alone."""
    matrices = torch.linalg.lstsq(networks.weights[0], after.weights[0]).solution
    shifts = torch.linalg.lstsq(networks.weights[0], (after.biases[0] - networks.biases[0])[:, :, None]).solution
    return matrices, shifts.squeeze(2)


def test_the_moved_network_is_the_network_at_moved_places(sirens: Networks) -> None:
    after = moved(sirens, max_shift=0.3, max_rotation=40, max_scaling=0.5, mirror=True)
    matrices, shifts = affine(sirens, after)
    places = coordinates(9, 7, torch.float64)
    there = places @ matrices.mT + shifts[:, None]
    torch.testing.assert_close(run(after, places), run(sirens, there))
    assert (shifts.abs() <= 0.3).all()
    scales = torch.linalg.det(matrices).abs().sqrt()
    assert ((scales <= 1.5) & (scales >= 1 / 1.5)).all()
    angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0])
    assert (angles.abs() <= math.radians(40)).all()
    assert len({round(float(angle), 6) for angle in angles}) == len(sirens)
    assert len(set(torch.sign(torch.linalg.det(matrices)).tolist())) == 2
    for same, untouched in zip(
        after.weights[1:] + after.biases[1:], sirens.weights[1:] + sirens.biases[1:], strict=True
    ):
        assert torch.equal(same, untouched)


def test_mirroring_exchanges_left_and_right(sirens: Networks) -> None:
    before, after = pictures(sirens, 8, 8), pictures(moved(sirens, mirror=True), 8, 8)
    is_mirrored = [torch.allclose(one, two.flip(2)) for one, two in zip(before, after, strict=True)]
    is_same = [torch.equal(one, two) for one, two in zip(before, after, strict=True)]
    assert [a or b for a, b in zip(is_mirrored, is_same, strict=True)] == [True] * 6
    assert 0 < sum(is_same) < 6


def test_nothing_is_done_where_nothing_is_asked_for_and_draws_follow_the_generator(sirens: Networks) -> None:
    assert moved(sirens) is sirens
    options = {"max_shift": 0.2, "weight_noise": 0.1}
    first, again, other = moved(sirens, 1, **options), moved(sirens, 1, **options), moved(sirens, 2, **options)
    assert torch.equal(first.flat(), again.flat())
    assert not torch.equal(first.flat(), other.flat())


def test_noise_is_in_units_of_the_weights(sirens: Networks) -> None:
    change = moved(sirens, weight_noise=0.1).flat() - sirens.flat()
    assert 0.08 < change.std() / sirens.flat().std() < 0.12


def test_bad_options_and_networks_without_places_are_refused() -> None:
    with pytest.raises(ZoovetError, match=r"max_shift must lie between 0 and 1, got 1.5"):
        PictureMoveConfig(max_shift=1.5)
    with pytest.raises(ZoovetError, match=r"max_rotation must lie between 0 and 180, got -1"):
        PictureMoveConfig(max_rotation=-1)
    graph = mlp((3, 2, 2))
    strangers = Networks.from_flat(graph, torch.zeros(1, graph.num_parameters))
    with pytest.raises(ZoovetError, match=r"networks read a place \(2 numbers\), got 3 → .*; set max_shift"):
        moved(strangers, mirror=True)
    assert moved(strangers, weight_noise=0.1).graph == graph
