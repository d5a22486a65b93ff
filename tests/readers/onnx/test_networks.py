"""Whole small networks that torch exports, read back; and operations at the input that become an input scaling."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoovet.networks import SCALING_PRESETS, InputScaling, fold_batch_norms, run
from zoovet.readers import content_of_bytes
from zoovet.readers.network_file import NetworkFile

pytest.importorskip("onnx")


def network_from_onnx(data: bytes, input_shape: tuple[int, ...] | None = None) -> NetworkFile:
    """Read as whoever is given a file's bytes does."""
    graph = content_of_bytes(data, "the ONNX file").graph
    assert graph is not None
    assert graph.format_name == "ONNX"
    return graph.read(input_shape, None)


_SHAPE = (3, 8, 8)


class Residual(nn.Module):
    """A residual block with squeeze-and-excitation and a strided shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, 1, 1, groups=2), nn.BatchNorm2d(8)
        self.short, self.squeeze, self.excite = nn.Conv2d(3, 8, 1, 2), nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        y = y * self.excite(nn.functional.silu(self.squeeze(y.mean((2, 3), keepdim=True)))).sigmoid()
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d((y + self.short(x)).relu(), 1), 1))


class Shuffled(nn.Module):
    """Half of the channels convolved, joined again, dealt crosswise; a view by the number of images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.fc = nn.Linear(8 * 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, second = nn.functional.hardswish(self.stem(x)).chunk(2, 1)
        y = torch.cat((first, nn.functional.relu6(self.depthwise(second))), 1)
        num, channels, height, width = y.shape
        y = y.view(num, 2, channels // 2, height, width).transpose(1, 2).reshape(num, channels, height, width)
        return self.fc(nn.functional.max_pool2d(y, 2).view(num, -1))


class Transformer(nn.Module):
    """Patches, a token of its own, attention, layer norms, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 12, 4, 4), nn.Parameter(torch.randn(1, 1, 12))
        self.places, self.norm1, self.norm2 = nn.Parameter(torch.randn(1, 5, 12)), nn.LayerNorm(12), nn.LayerNorm(12)
        self.qkv, self.out = nn.Linear(12, 36), nn.Linear(12, 12)
        self.mlp, self.head = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12)), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        num = x.shape[0]
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(num, -1, -1), x), 1) + self.places
        q, k, v = self.qkv(self.norm1(x)).view(num, 5, 3, 2, 6).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(((q @ k.transpose(-2, -1) / 6**0.5).softmax(-1) @ v).transpose(1, 2).reshape(num, 5, 12))
        return self.head((x + self.mlp(self.norm2(x)))[:, 0])


class Norms(nn.Module):
    """Group and instance norms, PReLU, a softmax at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.group, self.instance = nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), nn.InstanceNorm2d(6, affine=True)
        self.prelu, self.fc = nn.PReLU(6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.pad(self.prelu(self.group(self.conv(x))), (1, 0, 0, 1))
        return self.fc(nn.functional.leaky_relu(self.instance(y)).amax((2, 3))).softmax(1)


def _pre_activation() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ELU(),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 6, 3, dilation=2, padding=2),
        nn.Hardsigmoid(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(24, 4),
        nn.LogSoftmax(1),
    )


def _made(maker: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = maker().eval()
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)
                nn.init.uniform_(norm.weight, 0.5, 2)
    return module


def _exported(module: nn.Module, *, opset: int = 17, any_number: bool = True, folded: bool = False) -> NetworkFile:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its older exporter
        torch.onnx.export(
            module,
            (torch.zeros(1, *_SHAPE),),
            file,
            input_names=["images"],
            dynamic_axes={"images": {0: "N"}} if any_number else None,
            opset_version=opset,
            training=torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=folded,
            dynamo=False,
        )
    return network_from_onnx(file.getvalue())


def _images(num: int = 3) -> Tensor:
    return torch.randn(num, *_SHAPE, generator=torch.Generator().manual_seed(1))


def _assert_same(answers: Tensor, wanted: Tensor) -> None:
    assert answers.shape == wanted.shape
    assert float((answers - wanted).abs().max() / wanted.abs().max()) <= 1e-5


@pytest.mark.parametrize("opset", [9, 13, 17])
@pytest.mark.parametrize("any_number", [True, False])
@pytest.mark.parametrize("maker", [Residual, Shuffled, Transformer, Norms, _pre_activation])
def test_what_torch_exports_is_read_back(maker: Callable[[], nn.Module], any_number: bool, opset: int) -> None:
    if maker is _pre_activation and opset == 9:
        pytest.skip("torch exports no ceil_mode and no dilation to opset 9")
    if opset == 9 and maker is Shuffled:
        opset = 14  # the first with HardSwish
    module = _made(maker)
    networks = _exported(module, opset=opset, any_number=any_number).networks
    with torch.no_grad():
        _assert_same(run(networks, _images())[0], module(_images()))


@pytest.mark.parametrize("maker", [Residual, _pre_activation])
def test_batch_norms_that_stand_in_the_file_fold(maker: Callable[[], nn.Module]) -> None:
    module = _made(maker)
    networks = fold_batch_norms(_exported(module).networks)
    assert "batch_norm" not in [one.op for one in networks.graph.operations]
    with torch.no_grad():
        _assert_same(run(networks, _images())[0], module(_images()))
        _assert_same(run(_exported(module, folded=True).networks, _images())[0], module(_images()))


class Scaled(nn.Module):
    """A network that scales images first."""

    def __init__(self, scale: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.scale, self.net = scale, nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.scale(x))


def _channels(*numbers: float) -> Tensor:
    return torch.tensor(numbers).view(1, 3, 1, 1)


SCALINGS: list[tuple[Callable[[Tensor], Tensor], InputScaling, float]] = [
    (lambda x: x / 255, SCALING_PRESETS["unit"], 255),
    (lambda x: x * 2 - 1, SCALING_PRESETS["symmetric"], 1),
    (lambda x: x / 127.5 - 1, SCALING_PRESETS["symmetric"], 255),
    (lambda x: x * 255, SCALING_PRESETS["byte"], 1),
    (
        lambda x: (x - _channels(0.485, 0.456, 0.406)) / _channels(0.229, 0.224, 0.225),
        SCALING_PRESETS["imagenet"],
        1,
    ),
    (
        lambda x: (x / 255 - _channels(0.485, 0.456, 0.406)) / _channels(0.229, 0.224, 0.225),
        SCALING_PRESETS["imagenet"],
        255,
    ),
    (
        lambda x: (x.permute(0, 2, 3, 1) - torch.tensor([0.4, 0.5, 0.6])).permute(0, 3, 1, 2),
        InputScaling(mean=(0.4, 0.5, 0.6)),
        1,
    ),
]


@pytest.mark.parametrize(("scale", "scaling", "top"), SCALINGS)
def test_operations_that_scale_the_input_become_its_scaling(
    scale: Callable[[Tensor], Tensor], scaling: InputScaling, top: float
) -> None:
    module = _made(lambda: Scaled(scale))
    read = _exported(module)
    graph = read.networks.graph
    assert graph.input_scaling == scaling
    assert next(one for one in graph.operations if one.op != "permute").op == "conv2d"
    assert read.notes == (
        f"its first operations scale images with pixels of 0 to {top:g}: they are read as the input scaling "
        f"{graph.input_scaling.describe()}",
    )
    pixels = torch.randint(0, 256, (3, *_SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _assert_same(run(read.networks, graph.input_scaling.apply(pixels))[0], module(pixels / 255 * top))


@pytest.mark.parametrize(
    "scale",
    [
        lambda x: -x,
        lambda x: x * torch.linspace(0, 1, 8),
        lambda x: 1 / x,
        lambda x: x * 2 + x,
        lambda x: x * _channels(1, 0, 1),
    ],
)
def test_other_operations_at_the_input_stay(scale: Callable[[Tensor], Tensor]) -> None:
    module = _made(lambda: Scaled(scale))
    read = _exported(module)
    assert read.networks.graph.input_scaling is None
    assert read.notes == ()
    with torch.no_grad():
        _assert_same(run(read.networks, _images())[0], module(_images()))
