"""Traced, scripted and frozen modules answer as graphs what they answer by torch itself."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.networks import run
from zoovet.readers.torchscript import read_torchscript

Saved = Callable[..., Path]


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3, bias=False)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(torch.tanh(self.conv2(x)), 2)
        x = functional.dropout(x.view(x.size(0), -1), 0.5, self.training)
        return functional.log_softmax(self.fc(x), dim=1)


class Block(nn.Module):
    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """Loops over its layers, and knows a mean and a deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1))
        self.layers = nn.ModuleList([Block(3, 4, 2), Block(4, 4, 1), Block(4, 8, 2)])
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        for layer in self.layers:
            x = layer(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


class VGG(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3))
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(nn.Linear(24, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        return self.classifier(x.reshape(x.shape[0], -1))


class Inception(nn.Module):
    """Branches that are joined, and another head while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.fc, self.aux = nn.Linear(9, 5), nn.Linear(9, 5)

    def branches(self, x: Tensor) -> list[Tensor]:
        return [self.one(x), self.three(x), functional.avg_pool2d(x, 3, 1, 1)]

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(torch.cat(self.branches(x), 1)).mean([2, 3])
        if self.training:
            return self.aux(x)
        return self.fc(x)


class Mobile(nn.Module):
    """Depthwise convolutions, hard swish, squeeze and excitation, a part of the width for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.depthwise = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.bn, self.act = nn.BatchNorm2d(8, eps=1e-3), nn.Hardswish(inplace=True)
        self.squeeze, self.excite, self.gate = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1), nn.Hardsigmoid()
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.depthwise(self.act(self.bn(self.conv(x)))))
        scale = functional.adaptive_avg_pool2d(x, 1)
        x = x * self.gate(self.excite(functional.relu(self.squeeze(scale))))
        return self.fc(x.mean(3).mean(2))


class Transformer(nn.Module):
    """Patches, a token of the class, attention as timm writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 10, 8))
        self.norm1, self.norm2, self.qkv, self.proj = (
            nn.LayerNorm(8),
            nn.LayerNorm(8),
            nn.Linear(8, 24),
            nn.Linear(8, 8),
        )
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.places
        images, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(images, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(
            functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(images, length, width)
        )
        return self.fc((x + self.mlp(self.norm2(x)))[:, 0])


class Order(Enum):
    FIRST = "first"
    LAST = "last"


class Worded(nn.Module):
    """Decides by what things are, keeps tables by name, counts in a loop that ends early."""

    def __init__(self) -> None:
        super().__init__()
        self.order, self.sizes, self.cache = Order.LAST, [2, 3], {"7": torch.ones(3)}
        self.factor, self.fc = nn.Parameter(torch.rand(3)), nn.Linear(3, 5)

    def parts(self, x: Tensor) -> Tensor | list[Tensor]:
        if self.order == Order.FIRST:
            return x
        return [x, x * 2]

    def forward(self, x: Tensor) -> Tensor:
        name = str(x.size(1))
        if name not in self.cache:
            self.cache[name] = self.factor.exp()
        found = self.parts(x.mean((2, 3)))
        y = found[0] + found[1] if isinstance(found, list) else found
        turns, total = 0, 0
        while total < sum(self.sizes) and turns < 10:
            turns += 1
            total += self.sizes[turns % len(self.sizes)]
        return self.fc(y * self.cache[name] * float(turns) if turns > 1 else y)


class Encoder(nn.Module):
    """torch's own layer and attention, whose traces hold calls that are there for speed."""

    def __init__(self, norm_first: bool = True) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first, activation="gelu")
        self.attention, self.fc = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x.flatten(2).transpose(1, 2).reshape(x.shape[0], -1, 8))
        return self.fc(self.attention(x, x, x)[0].mean(1))


class Encoder2(Encoder):
    def __init__(self) -> None:
        super().__init__(norm_first=False)


def _made(maker: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    module = maker().eval()
    for name, tensor in module.named_buffers():
        if "running" in name:
            tensor.uniform_(0.5, 1.5)
    return module


def _require_alike(path: Path, module: nn.Module, dtype: torch.dtype) -> None:
    side = 12
    networks = read_torchscript(path, (3, side, side)).networks
    images = torch.rand(3, 3, side, side, dtype=dtype)
    with torch.no_grad():
        expected = module(images)
    given, scaling = images, networks.graph.input_scaling
    if scaling is not None:
        gain, offset = (torch.tensor(part, dtype=dtype)[:, None, None] for part in scaling.affine(3))
        given = images * gain + offset
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(run(networks, given)[0], expected, rtol=tolerance, atol=tolerance)


_NETWORKS = (LeNet, ResNet, VGG, Inception, Mobile, Transformer)


@pytest.mark.parametrize("how", ["scripted", "traced", "frozen"])
@pytest.mark.parametrize("made", _NETWORKS)
def test_it_answers_as_the_module_does(saved: Saved, made: Callable[[], nn.Module], how: str) -> None:
    module = _made(made)
    _require_alike(
        saved(module, torch.rand(2, 3, 12, 12) if how == "traced" else None, freeze=how == "frozen"),
        module,
        torch.float32,
    )


def test_what_scripts_say_besides_operators_is_read(saved: Saved) -> None:
    module = _made(Worded)
    _require_alike(saved(module), module, torch.float32)


@pytest.mark.parametrize("is_traced", [True, False])
@pytest.mark.parametrize("made", [ResNet, Transformer])
def test_float64_stays_float64(saved: Saved, made: Callable[[], nn.Module], is_traced: bool) -> None:
    module = _made(made).double()
    images = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    _require_alike(saved(module, images if is_traced else None), module, torch.float64)


@pytest.mark.parametrize("made", [Encoder, Encoder2])
def test_calls_for_speed_are_read_as_what_they_stand_for(saved: Saved, made: Callable[[], nn.Module]) -> None:
    module = _made(made)
    path = saved(module, torch.rand(2, 3, 12, 12))
    _require_alike(path, module, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_read_as_float32(saved: Saved, dtype: torch.dtype) -> None:
    module = _made(VGG).to(dtype)
    path = saved(module, torch.rand(2, 3, 12, 12, dtype=dtype))
    read = read_torchscript(path, (3, 12, 12))
    assert read.notes == (f"weights of {str(dtype).removeprefix('torch.')} are read as float32",)
    images = torch.rand(3, 3, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(run(read.networks, images)[0], module.float()(images), rtol=1e-5, atol=1e-5)


def test_a_module_that_was_traced_in_training_drops_nothing(saved: Saved) -> None:
    module = _made(VGG)
    module.classifier[2].train()
    read = read_torchscript(saved(module, torch.rand(2, 3, 12, 12)), (3, 12, 12))
    assert read.notes == ("dropout that its code leaves on, as when it was traced in training, is left out",)
    images = torch.rand(3, 3, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(run(read.networks, images)[0], module.eval()(images), rtol=1e-5, atol=1e-5)
