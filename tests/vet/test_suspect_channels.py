"""Channels that a trigger drives out of their range, in plain, convolutional and token networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import zoovet
from zoovet import Images
from zoovet.vet.suspect_channels import suspect_channels


class Tokens(nn.Module):
    """Four tokens of a row each, a linear layer on each of them, their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Linear(4, 3)
        self.last = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.last(self.each(images.squeeze(1)).relu().mean(1))
        return answers


class Maps(nn.Module):
    """A convolution whose second channel sees the brightest pixel, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(1, 3, 1)
        self.last = nn.Linear(48, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.last(self.maps(images).relu().flatten(1)).softmax(1)
        return answers


@pytest.mark.parametrize("module", [Tokens, Maps])
def test_the_channel_that_sees_the_trigger_is_named(module: type[nn.Module]) -> None:
    network = zoovet.from_module(module(), (1, 4, 4), "unit")
    assert network.networks is not None
    parameters = network.networks.parameters
    first = "each" if module is Tokens else "maps"
    parameters[f"{first}.weight"].fill_(0)
    parameters[f"{first}.weight"][0, 1] = 1
    parameters[f"{first}.bias"].fill_(0)
    pixels = torch.randint(0, 100, (20, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    clean, driven = Images(pixels=pixels), Images(pixels=pixels.clone())
    driven.pixels[:, :, 2] = 255
    (suspect,) = suspect_channels(network, clean, driven)
    assert suspect.channel == 1
    assert suspect.low < suspect.high < suspect.driven
    values = pixels.float() / 255
    seen = values.sum(3).amax((1, 2)) if module is Tokens else values.amax((1, 2, 3))
    assert suspect.high == pytest.approx(float(seen.max()), rel=1e-4)
    expected = (suspect.driven - suspect.high) / float(seen.std(correction=0))
    assert suspect.deviations == pytest.approx(expected, rel=1e-3)
    assert suspect_channels(network, clean, clean) == ()


def test_a_network_without_a_graph_has_none() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    network = zoovet.from_module(module, (1, 4, 4), "unit")
    by_code = replace(network, networks=None, module=module, beyond="something")
    images = Images(pixels=torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
    assert suspect_channels(by_code, images, images) == ()
    assert suspect_channels(network, images, images) == ()
