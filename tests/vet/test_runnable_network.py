"""A network from elsewhere, with a graph or without, answers on images in [-1, 1] what it answers on bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import zoovet
from zoovet import ZoovetError
from zoovet.evidence import Inspectable, Pace
from zoovet.evidence.scaled_images import as_signed
from zoovet.vet import runnable
from zoovet.vet.runnable_network import pace_of, sought_in


def test_answers_are_the_networks() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 5 * 4, 3))
    pixels = torch.randint(0, 256, (5, 7, 6, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    network = zoovet.from_module(module, (3, 7, 6), scaling="imagenet")
    by_code = replace(network, networks=None, module=module, beyond="something")
    signed = as_signed(pixels.permute(0, 3, 1, 2))
    for own, is_known in ((network, True), (by_code, False)):
        made = runnable(own)
        assert isinstance(made, Inspectable) == is_known
        torch.testing.assert_close(made.logits(signed)[0].detach(), network.logits(pixels), atol=1e-4, rtol=1e-4)
    with pytest.raises(ZoovetError, match="input scaling is not known: give scaling="):
        runnable(replace(network, scaling=None))


def test_large_networks_run_fewer_images_at_once_and_only_graphs_run_side_by_side() -> None:
    module = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.Flatten(), nn.Linear(64 * 128 * 128, 2))
    small = zoovet.from_module(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (1, 4, 4), scaling="unit")
    large = zoovet.from_module(module, (1, 128, 128), scaling="unit")
    assert pace_of(small) == Pace(torch.get_num_threads(), 512)
    assert pace_of(large).max_images == 31  # some 2^21 numbers an image, of 2^26
    assert pace_of(replace(small, networks=None, module=module, beyond="something")) == Pace()


@pytest.mark.parametrize("is_fast", [True, False])
def test_large_networks_are_searched_in_bfloat16_where_the_processor_has_it(
    is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoovet.vet.runnable_network.multiplies_bfloat16", lambda: is_fast)
    torch.manual_seed(0)
    small = zoovet.from_module(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (1, 4, 4), scaling="unit")
    layers = nn.Conv2d(3, 200, 7, padding=3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(200, 5)
    large = zoovet.from_module(nn.Sequential(*layers), (3, 96, 96), scaling="unit")
    assert sought_in(small, runnable(small))[1] == ()
    own = runnable(large)
    sought, notes = sought_in(large, own)
    assert len(notes) == is_fast
    images = (2 * torch.rand(2, 3, 96, 96) - 1).requires_grad_()
    answers, exact = sought.logits(images), own.logits(images)
    assert answers.dtype == torch.float32
    assert sought.input_shape == (3, 96, 96)
    assert len(sought[:1]) == 1
    difference = float((answers - exact).detach().abs().max() / exact.detach().abs().max())
    assert (0 < difference < 0.05) if is_fast else difference == 0
    assert bool(torch.autograd.grad(answers.sum(), images)[0].any())
