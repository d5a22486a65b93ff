"""Modules that bring maps to another size, look at neighbouring channels, or slide along one axis."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoovet.networks import run
from zoovet.readers.exported import UnknownOperation, graph_from_module


def _around(layer: nn.Module) -> nn.Module:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.LazyConv2d(4, 1), nn.ReLU())
    module(torch.zeros(1, 3, 8, 8))
    return module.double().eval()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Upsample(scale_factor=2),
        nn.Upsample(size=(9, 5), mode="nearest-exact"),
        nn.Upsample(size=(9, 5), mode="bilinear"),
        nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True),
        nn.Upsample(size=(3, 11), mode="bicubic"),
        nn.LocalResponseNorm(3, alpha=0.5, k=2.0),
        nn.LocalResponseNorm(2, alpha=0.5),
        nn.Sequential(nn.ConstantPad2d((1, 0, 0, 1), -torch.inf), nn.MaxPool2d(3, 2)),
        nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 8, 3, 2, 1, dilation=2, groups=2), nn.Unflatten(2, (1, 17))),
        nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 8, 3, padding="same"), nn.Unflatten(2, (6, 6))),
    ],
)
def test_a_module_computes_what_it_did(layer: nn.Module) -> None:
    module, images = _around(layer), torch.randn(5, 3, 8, 8, dtype=torch.float64)
    answers = run(graph_from_module(module, (3, 8, 8)), images)[0]
    torch.testing.assert_close(answers, module(images), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Upsample(scale_factor=1.3, mode="bilinear"), r"aten\.upsample_bilinear2d resizes 6 by 1\.3 to 7, which is"),
        (
            nn.Sequential(nn.Unflatten(1, (2, 2)), nn.AvgPool3d(2), nn.Flatten(1, 2), nn.Conv2d(2, 4, 1)),
            r"aten\.avg_pool3d pools over three axes at once",
        ),
    ],
)
def test_what_is_beyond_the_vocabulary_is_named(layer: nn.Module, message: str) -> None:
    with pytest.raises(UnknownOperation, match=message):
        graph_from_module(_around(layer), (3, 8, 8))
