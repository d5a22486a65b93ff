"""Small modules with a forward of their own, each with what a kind of network has; read, and run again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, fold_batch_norms, run
from zoovet.readers.exported import UnknownOperation, graph_from_module


class BasicBlock(nn.Module):
    """A CIFAR ResNet's block, its shortcut without weights: every other pixel, channels padded with zeros."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.extra = out - width

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)), inplace=True)))
        short = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra // 2)) if self.extra else x
        y += short
        return functional.relu(y)


class ResNet20(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        widths = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.blocks = nn.ModuleList(BasicBlock(*each) for each in widths)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(functional.avg_pool2d(x, x.size()[3]).view(x.size(0), -1))


class PreActivation(nn.Module):
    """Norms before convolutions, a 1×1 shortcut, squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv1, self.bn2 = nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.short = nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.Conv2d(8, 12, 1, 2, bias=False)
        self.fc1, self.fc2 = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1)
        self.classifier = nn.Linear(12 * 6 * 6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv0(x)
        y = functional.elu(self.bn1(x))
        z = self.conv2(functional.leaky_relu(self.bn2(self.conv1(y)), 0.1))
        gate = torch.sigmoid(self.fc2(functional.silu(self.fc1(functional.adaptive_avg_pool2d(z, 1)))))
        z = z * gate + self.short(x)
        return self.classifier(torch.flatten(z, 1))


class Shuffled(nn.Module):
    """ShuffleNet's unit: halves, a depthwise convolution, channels shuffled by views."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same")
        self.point, self.depth = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, 1, 1, groups=4)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).chunk(2, dim=1)
        x = torch.cat((left, functional.hardswish(self.depth(functional.relu6(self.point(right))))), dim=1)
        images, channels, height, width = x.size()
        x = x.view(images, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return self.head(x.view(images, channels, height, width).mean([2, 3]))


class Dense(nn.Module):
    """DenseNet's block, a transition, and Inception's poolings."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * index) for index in range(3))
        self.layers = nn.ModuleList(nn.Conv2d(6 + 4 * index, 4, 3, padding=1, bias=False) for index in range(3))
        self.pool, self.drop = nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5)
        self.head = nn.Conv2d(18, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.first(x)]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            features.append(layer(functional.relu(norm(torch.cat(features, 1)))))
        x = self.drop(self.pool(torch.cat(features, 1)))
        x = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        return self.head(x).amax((2, 3)).softmax(dim=1)


class Vision(nn.Module):
    """A vision transformer: patches, a class token, positions, torch's own attention, layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 10, 16))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(16, eps=1e-6) for _ in range(3))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU("tanh"), nn.Dropout(0.1), nn.Linear(32, 16))
        self.scale, self.head = nn.Parameter(torch.randn(16)), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.places
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.scale * self.mlp(self.norm2(x))
        return self.head(self.norm3(x)[:, 0])


class Windowed(nn.Module):
    """Windows of a shifted map merged with the images, attention by hand with a table of positions and a mask."""

    index: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.head = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 24), nn.Linear(8, 5)
        self.table = nn.Parameter(torch.randn(49, 2))
        self.register_buffer("index", torch.arange(81).view(9, 9) % 49)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.roll(self.embed(x).permute(0, 2, 3, 1), (-1, -1), (1, 2))
        images, height, width, channels = x.shape
        x = x.view(images, height // 3, 3, width // 3, 3, channels)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(images * 4, 9, channels)
        q, k, v = self.qkv(x).reshape(x.size(0), 9, 3, 2, 4).permute(2, 0, 3, 1, 4)
        scores = (q * 4**-0.5) @ k.transpose(-2, -1)
        scores = scores + self.table[self.index.view(-1)].view(9, 9, 2).permute(2, 0, 1).unsqueeze(0)
        mask = x.new_zeros((6, 6))
        mask[:3, 3:] = 1
        mask = mask.view(2, 3, 2, 3).permute(0, 2, 1, 3).reshape(4, 9)
        apart = mask.unsqueeze(1) - mask.unsqueeze(2)
        apart = apart.masked_fill(apart != 0, -100.0)
        scores = scores.view(images, 4, 2, 9, 9) + apart.unsqueeze(1).unsqueeze(0)
        x = scores.view(-1, 2, 9, 9).softmax(-1).matmul(v).transpose(1, 2).reshape(images * 4, 9, channels)
        x = x.view(images, 2, 2, 3, 3, channels).permute(0, 1, 3, 2, 4, 5).reshape(images, height, width, channels)
        return self.head(torch.roll(x, (1, 1), (1, 2)).mean((1, 2)))


class Mixed(nn.Module):
    """What else people write: weight norm, scaling of the images, buffers, python numbers, changes in place."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.conv = parametrizations.weight_norm(nn.Conv2d(3, 6, 3, bias=False))
        self.slope, self.gain = nn.PReLU(6), nn.Parameter(torch.tensor(0.7))
        self.norm, self.depth = nn.GroupNorm(3, 6), 2
        self.linear = nn.Linear(6, 6)
        self.register_parameter("projection", nn.Parameter(torch.randn(6, 5)))

    def forward(self, x: Tensor) -> Tensor:
        x = (2 * x - 1 - self.mean) / 0.25
        x = self.norm(self.slope(self.conv(x)))
        x = torch.clamp(x, -2, 2) - 0.5 * functional.softplus(x) + self.gain * torch.sin(3.0 * x)
        x = x.mean((-1, -2))
        for _ in range(self.depth):
            x = 1 - functional.mish(self.linear(x)) / (1 + x.abs())
        x[:, :2].mul_(3)
        return -torch.stack([x, x.tanh()], dim=2).sum(2) @ self.projection


MODULES: list[type[nn.Module]] = [ResNet20, PreActivation, Shuffled, Dense, Vision, Windowed, Mixed]


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    module = kind()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return module.double()


@pytest.fixture(scope="module")
def read() -> Callable[[type[nn.Module]], tuple[nn.Module, Networks]]:
    """Each module is traced once."""
    known: dict[type[nn.Module], tuple[nn.Module, Networks]] = {}

    def get(kind: type[nn.Module]) -> tuple[nn.Module, Networks]:
        if kind not in known:
            module = made(kind)
            known[kind] = module, graph_from_module(module, (3, 12, 12))
        return known[kind]

    return get


Read = Callable[[type[nn.Module]], tuple[nn.Module, Networks]]


@pytest.mark.parametrize("kind", MODULES)
def test_a_read_module_computes_what_it_did(kind: type[nn.Module], read: Read) -> None:
    module, networks = read(kind)
    images = torch.rand(7, 3, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert module.training
    theirs = module.eval()(images)
    module.train()
    assert theirs.abs().max() > 0.01
    torch.testing.assert_close(run(networks, images)[0], theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(run(fold_batch_norms(networks), images)[0], theirs, rtol=1e-11, atol=1e-12)
    both = Networks.concatenate([networks, networks])
    torch.testing.assert_close(run(both, images)[1], theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", MODULES)
def test_parameters_keep_their_names_and_none_is_bookkeeping(kind: type[nn.Module], read: Read) -> None:
    module, networks = read(kind)
    state = module.state_dict()
    assert not any("num_batches" in name for name in networks.graph.shapes)
    kept = {name for name in networks.graph.shapes if name in state}
    for name in kept:
        assert torch.equal(networks.parameters[name][0], state[name])
    if kind not in (Mixed, Windowed):
        bookkeeping = {name for name in state if "num_batches" in name}
        assert kept == set(state) - bookkeeping


def test_graphs_say_what_they_are(read: Read) -> None:
    _, resnet = read(ResNet20)
    assert resnet.graph.sites["blocks.3.conv1"].shape == (32, 6, 6)
    assert [operation.op for operation in resnet.graph.operations].count("conv2d") == 19
    assert resnet.graph.output == "fc"
    assert "channel_shuffle" in [operation.op for operation in read(Shuffled)[1].graph.operations]
    assert read(Dense)[1].graph.answers == "probabilities"
    constants = {one.name for one in read(Windowed)[1].graph.parameters if one.is_constant}
    assert len(constants) == 1  # the mask; the table of positions was learned
    sines = [operation for operation in read(Mixed)[1].graph.operations if operation.op == "sin"]
    assert [operation.attributes["frequency"] for operation in sines] == [3.0]
    folded = [operation.op for operation in fold_batch_norms(read(PreActivation)[1]).graph.operations]
    assert folded.count("channel_affine") == 1


def test_a_module_is_left_as_it_was() -> None:
    module = made(Mixed)
    module.norm.eval()  # type: ignore[operator,union-attr]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    networks = graph_from_module(module, (3, 12, 12))
    next(iter(networks.parameters.values())).fill_(7)
    assert module.training
    assert module.slope.training  # type: ignore[union-attr]
    assert not module.norm.training  # type: ignore[union-attr]
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


class OneOf(nn.Module):
    """Does one thing between two linear layers."""

    def __init__(self, act: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(6, 8), act, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        return self.last(self.act(self.first(x)))


class Norm(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).mean((2, 3))


@pytest.mark.parametrize(
    "act",
    [
        lambda x: torch.cat([functional.glu(x), functional.dropout(x[:, 4:], 0.5, False, True)], 1),
        lambda x: x - x.mean(1, keepdim=True),
        lambda x: torch.einsum("bi,ji->bj", x, torch.eye(8, dtype=x.dtype) * 2),
        lambda x: torch.cat([x[:, :6], x.new_ones(x.size(0), 2)], 1),
        lambda x: torch.addmm(torch.ones(8, dtype=x.dtype), x, torch.eye(8, dtype=x.dtype)),
        lambda x: functional.pixel_shuffle(x.view(-1, 8, 1, 1), 2).flatten(1),
        lambda x: torch.max(x, x * 2).clamp(min=0) + functional.normalize(x),
        lambda x: functional.rrelu(x) / 3 + 1 / (x.square() + 1),
        lambda x: torch.cat(torch.split(x, [3, 5], 1)[::-1], 1),
        lambda x: torch.stack(x.unflatten(1, (4, 2)).movedim(1, 2).unbind(1), 1).flatten(1),
    ],
)
def test_what_people_write_between_layers_is_read(act: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    module = OneOf(act).double().eval()
    images = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(run(graph_from_module(module, (6,)), images)[0], module(images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4, track_running_stats=True)])
def test_norms_of_instances_are_read_as_they_compute(norm: nn.Module) -> None:
    module = Norm(norm).double().eval()
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    networks = graph_from_module(module, (3, 8, 8))
    torch.testing.assert_close(run(networks, images)[0], module(images), rtol=1e-11, atol=1e-11)


def test_norms_of_places_merged_with_images_are_read() -> None:
    class Places(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)

        def forward(self, x: Tensor) -> Tensor:
            x = self.linear(x.flatten(2).transpose(1, 2))
            return self.norm(x.flatten(0, 1)).reshape_as(x).mean(1)

    module = Places()
    assert module.norm.running_mean is not None
    module.norm.running_mean.uniform_(-1, 1)
    module = module.double().eval()
    images = torch.randn(5, 4, 3, 2, dtype=torch.float64)
    networks = graph_from_module(module, (4, 3, 2))
    torch.testing.assert_close(run(networks, images)[0], module(images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda x: x.cumsum(1), r"aten\.cumsum is not in the vocabulary of graphs, at test_modules\.py:\d+"),
        (lambda x: x - x.mean(0), r"aten\.mean works across images, at test_modules\.py:\d+"),
        (lambda x: x.flip(0), r"aten\.flip is not in the vocabulary"),
        (lambda x: x.half().to(x.dtype), r"aten\.\w+ calculates in torch\.float16"),
    ],
)
def test_an_operation_beyond_the_vocabulary_is_named_with_its_place(act: Any, message: str) -> None:
    module = OneOf(act)
    with pytest.raises(UnknownOperation, match=message) as raised:
        graph_from_module(module, (6,))
    assert raised.value.operation.startswith("aten.")
    assert "\n" not in str(raised.value)


def test_the_module_in_which_an_operation_stands_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.cumprod(1)

    with pytest.raises(UnknownOperation, match=r"aten\.cumprod .* in '1\.0' at test_modules\.py:\d+"):
        graph_from_module(nn.Sequential(nn.Linear(4, 4), nn.Sequential(Odd())), (4,))


class Two(nn.Linear):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x + 1


def test_what_cannot_be_traced_is_said() -> None:
    with pytest.raises(ZoovetError, match="has no parameters"):
        graph_from_module(nn.Flatten(), (4,))
    with pytest.raises(
        ZoovetError, match=r"cannot be traced with images of \[5\]: .*; it must take one batch of images"
    ):
        graph_from_module(nn.Linear(4, 2), (5,))
    with pytest.raises(ZoovetError, match="cannot be traced"):
        graph_from_module(OneOf(lambda x: x if x.sum() > 0 else -x), (6,))
    with pytest.raises(ZoovetError, match="gives 2 tensors; a network gives one"):
        graph_from_module(Two(4, 2), (4,))
    with pytest.raises(ZoovetError, match="does not depend on its input"):
        graph_from_module(OneOf(lambda x: torch.ones(3, 8)), (6,))


def test_torch_prints_nothing_of_a_module_that_cannot_be_traced(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZoovetError, match="must not decide by what is in them"):
        graph_from_module(OneOf(lambda x: x if x.sum() > 0 else -x), (6,))
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
