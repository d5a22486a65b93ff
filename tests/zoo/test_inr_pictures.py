"""Coordinates, pictures and PSNR are what their formulas say."""

from __future__ import annotations

import math

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, mlp, siren
from zoovet.zoo.inr_pictures import coordinates, pictures, psnr


def test_coordinates_run_row_by_row_from_corner_to_corner() -> None:
    grid = coordinates(3, 5, torch.float64).view(3, 5, 2)
    assert grid[0, 0].tolist() == [-1, -1]
    assert grid[0, 4].tolist() == [-1, 1]
    assert grid[2, 0].tolist() == [1, -1]
    assert grid[1, 3].tolist() == [0, 0.5]
    assert coordinates(28, 28).dtype == torch.float32


def test_a_picture_is_the_output_plus_a_half_at_each_place() -> None:
    graph = siren((2, 6, 3), w0=10.0)
    flat = torch.randn(4, graph.num_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    networks = Networks.from_flat(graph, flat)
    shown = pictures(networks, 5, 7)
    assert shown.shape == (4, 3, 5, 7)
    place = torch.tensor([2 * 4 / 4 - 1, 2 * 2 / 6 - 1], dtype=torch.float64)
    hidden = torch.sin(10 * (networks.weights[0][1] @ place + networks.biases[0][1]))
    expected = networks.weights[1][1] @ hidden + networks.biases[1][1] + 0.5
    torch.testing.assert_close(shown[1, :, 4, 2], expected)


def test_pictures_carry_gradients() -> None:
    graph = siren((2, 4, 1))
    flat = torch.ones(1, graph.num_parameters, requires_grad=True)
    pictures(Networks.from_flat(graph, flat), 4, 4).square().mean().backward()
    assert flat.grad is not None
    assert float(flat.grad.abs().max()) > 0


def test_psnr_is_in_decibels() -> None:
    targets = torch.zeros(2, 1, 4, 4)
    shown = torch.stack([torch.full((1, 4, 4), 0.1), torch.zeros(1, 4, 4)])
    values = psnr(shown, targets)
    assert float(values[0]) == pytest.approx(20.0)
    assert math.isinf(float(values[1]))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ZoovetError, match="at least one row and one column, got 0 × 3"):
        coordinates(0, 3)
    graph = mlp((3, 2))
    with pytest.raises(ZoovetError, match=r"that take a place \(2 numbers\), got"):
        pictures(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)), 2, 2)
    with pytest.raises(ZoovetError, match=r"one shape, got \[1, 1, 2, 2\] and \[1, 1, 2, 3\]"):
        psnr(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3))
