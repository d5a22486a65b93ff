from __future__ import annotations

import torch

from zoovet.metanets.kernels import fitted_kernels, kernel_positions, kernels_of_size


def test_positions_are_centred_and_a_bare_weight_is_first() -> None:
    assert kernel_positions((), (3, 3)) == [0]
    assert kernel_positions((1, 1), (3, 3)) == [4]
    assert kernel_positions((1, 2), (3, 3)) == [3, 4]
    assert kernel_positions((7, 5), (3, 3)) == list(range(9))


def test_large_kernels_are_averaged_over_areas_and_spread_over_them_again() -> None:
    weight = torch.arange(2 * 3 * 16.0).reshape(1, 2, 3, 4, 4)
    rows = fitted_kernels(weight, (2, 2))
    assert rows.shape == (1, 2, 3, 4)
    assert torch.equal(rows[0, 0, 0], torch.tensor([2.5, 4.5, 10.5, 12.5]))
    back = kernels_of_size(rows.reshape(-1, 4), (4, 4), (2, 2))
    assert back.shape == (6, 4, 4)
    assert torch.equal(back[0, :2, :2], torch.full((2, 2), 2.5))
    assert torch.equal(back[0, 2:, 2:], torch.full((2, 2), 12.5))


def test_kernels_that_fit_stay_as_they_are() -> None:
    weight = torch.randn(1, 2, 3, 2, 2)
    assert torch.equal(fitted_kernels(weight, (3, 2)), weight.flatten(3))
    assert torch.equal(kernels_of_size(weight.reshape(6, 4), (2, 2), (3, 3)), weight.reshape(6, 2, 2))
    bare = torch.randn(1, 2, 3)
    assert torch.equal(fitted_kernels(bare, (3, 3)), bare.unsqueeze(3))
    assert kernels_of_size(bare.reshape(6, 1), (), (3, 3)).shape == (6,)
