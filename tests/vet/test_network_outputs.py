"""Modules that answer several things, or cannot be followed back: what is said, and the way out."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import zoovet
from zoovet import ZoovetError
from zoovet.vet import weights_digest


class Pair(nn.Module):
    """Answers classes and features."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(48, 5), nn.Linear(48, 7)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        flat = images.flatten(1)
        return self.first(flat), self.second(flat)


def test_one_of_a_pair_is_chosen() -> None:
    module = Pair()
    with pytest.raises(ZoovetError, match="answers 2 things for an image: say which are its classes, output=INDEX"):
        zoovet.from_module(module, (3, 4, 4), "unit")
    images = torch.randint(0, 256, (6, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    read = images.permute(0, 3, 1, 2) / 255
    for index in (0, 1):
        network = zoovet.from_module(module, (3, 4, 4), "unit", output=index)
        torch.testing.assert_close(network.logits(images), module(read)[index].detach())
        assert network.digest == weights_digest(module.state_dict())
    with pytest.raises(ZoovetError, match="output must lie in 0 to 1, got 2"):
        zoovet.from_module(module, (3, 4, 4), "unit", output=2)
    with pytest.raises(ZoovetError, match="answers one thing for an image: leave out output"):
        zoovet.from_module(nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), (3, 4, 4), "unit", output=0)


def test_a_map_is_no_classes() -> None:
    with pytest.raises(ZoovetError, match=r"answers \[5, 4, 4\] for an image, expected is one number for each class"):
        zoovet.from_module(nn.Conv2d(3, 5, 1), (3, 4, 4), "unit")


def test_a_quantized_module_is_called_that() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
        quantized = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear})
    with pytest.raises(ZoovetError, match="the module is quantized: its weights are packed and no gradient goes"):
        zoovet.from_module(quantized, (3, 4, 4), "unit")
