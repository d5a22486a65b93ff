"""Networks as their papers draw them, under the names of public code: built-in architectures are compared with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Reference = Callable[[str], nn.Module]


def conv(incoming: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(incoming, out, kernel, stride, kernel // 2, groups=groups, bias=bias)


class BasicBlock(nn.Module):
    def __init__(self, incoming: int, out: int, stride: int, shortcut: str, zeros: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(incoming, out, 3, stride), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = conv(out, out), nn.BatchNorm2d(out)
        self.zeros, self.stride, self.missing = zeros, stride, out - incoming
        self.name = shortcut if incoming != out and not zeros else ""
        if self.name:
            self.add_module(self.name, nn.Sequential(conv(incoming, out, 1, stride), nn.BatchNorm2d(out)))

    def forward(self, x: Tensor) -> Tensor:
        kept = self.get_submodule(self.name)(x) if self.name else x
        if self.zeros and self.missing:
            before = self.missing // 2 if self.zeros == "around" else 0
            kept = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, self.missing - before))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + kept)


class ResNet(nn.Module):
    def __init__(
        self, widths: Sequence[int], blocks: int, shortcut: str = "shortcut", zeros: str = "", head: str = "linear"
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, widths[0]), nn.BatchNorm2d(widths[0])
        self.widths, incoming = widths, widths[0]
        for stage, width in enumerate(widths):
            layers = []
            for index in range(blocks):
                stride = 2 if stage and not index else 1
                layers.append(BasicBlock(incoming, width, stride, shortcut, zeros))
                incoming = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.add_module(head, nn.Linear(incoming, 5))
        self.head = [self.get_submodule(head)]

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(len(self.widths)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.head[0](F.adaptive_avg_pool2d(x, 1).flatten(1))


class PreBlock(nn.Module):
    def __init__(self, incoming: int, out: int, stride: int, shortcut: str, raw: bool) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(incoming), conv(incoming, out, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(out), conv(out, out)
        self.name, self.raw = shortcut if incoming != out else "", raw
        if self.name:
            short = nn.Conv2d(incoming, out, 1, stride, bias=False)
            self.add_module(self.name, nn.Sequential(short) if shortcut == "shortcut" else short)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        kept = self.get_submodule(self.name)(x if self.raw else active) if self.name else x
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + kept


class PreActivation(nn.Module):
    """``block1.layer.0`` with ``fc`` where ``wide``; else ``layer1.0`` with ``linear``."""

    def __init__(self, widths: Sequence[int], wide: bool, last_norm: str, raw: bool = False) -> None:
        super().__init__()
        self.conv1 = conv(3, widths[0] if not wide else 16)
        incoming, self.stages = self.conv1.out_channels, []
        for stage, width in enumerate(widths):
            blocks = nn.Sequential()
            for index in range(2):
                stride, name = 2 if stage and not index else 1, "convShortcut" if wide else "shortcut"
                blocks.append(PreBlock(incoming, width, stride, name, raw))
                incoming = width
            if wide:
                holder = nn.Module()
                holder.layer = blocks
                self.add_module(f"block{stage + 1}", holder)
            else:
                self.add_module(f"layer{stage + 1}", blocks)
            self.stages.append(blocks)
        if last_norm:
            self.add_module(last_norm, nn.BatchNorm2d(incoming))
        self.last_norm, self.head = last_norm, "fc" if wide else "linear"
        self.add_module(self.head, nn.Linear(incoming, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in self.stages:
            x = stage(x)
        if self.last_norm:
            x = F.relu(self.get_submodule(self.last_norm)(x))
        return self.get_submodule(self.head)(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Inverted(nn.Module):
    def __init__(self, incoming: int, out: int, stride: int) -> None:
        super().__init__()
        inner = 2 * incoming
        self.conv1, self.bn1 = conv(incoming, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride, inner), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, out, 1), nn.BatchNorm2d(out)
        self.stride, self.shortcut = stride, nn.Sequential()
        if stride == 1 and incoming != out:
            self.shortcut = nn.Sequential(conv(incoming, out, 1), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn3(self.conv3(F.relu6(self.bn2(self.conv2(F.relu6(self.bn1(self.conv1(x))))))))
        return y + self.shortcut(x) if self.stride == 1 else y


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, 8), nn.BatchNorm2d(8)
        self.layers = nn.Sequential(Inverted(8, 8, 1), Inverted(8, 12, 1), Inverted(12, 16, 2), Inverted(16, 16, 1))
        self.conv2, self.bn2 = conv(16, 24, 1), nn.BatchNorm2d(24)
        self.linear = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu6(self.bn1(self.conv1(x))))
        return self.linear(F.relu6(self.bn2(self.conv2(x))).mean((2, 3)))


class DenseLayer(nn.Module):
    def __init__(self, incoming: int, before: bool) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(incoming), conv(incoming, 16, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(16), conv(16, 4)
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))
        return torch.cat([new, x] if self.before else [x, new], 1)


class DenseNet(nn.Module):
    def __init__(self, before: bool) -> None:
        super().__init__()
        self.conv1 = conv(3, 8)
        self.dense1 = nn.Sequential(DenseLayer(8, before), DenseLayer(12, before))
        self.trans1 = nn.Module()
        self.trans1.bn, self.trans1.conv = nn.BatchNorm2d(16), conv(16, 8, 1)
        self.dense2 = nn.Sequential(DenseLayer(8, before), DenseLayer(12, before))
        self.bn, self.linear = nn.BatchNorm2d(16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dense1(self.conv1(x))
        x = F.avg_pool2d(self.trans1.conv(F.relu(self.trans1.bn(x))), 2)
        return self.linear(F.relu(self.bn(self.dense2(x))).mean((2, 3)))


class DeepId(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 4), nn.Conv2d(4, 5, 3)
        self.conv3, self.conv4 = nn.Conv2d(5, 6, 3), nn.Conv2d(6, 7, 2)
        self.fc1, self.fc2 = nn.Linear(6 * 16, 9), nn.Linear(7 * 9, 9)
        self.output = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.conv1, self.conv2, self.conv3):
            x = F.max_pool2d(F.relu(layer(x)), 2)
        last = F.relu(self.conv4(x))
        return self.output(F.relu(self.fc1(x.flatten(1)) + self.fc2(last.flatten(1))))


class Vgg(nn.Module):
    """Convolution, batch norm and ELU twice, max pooling, dropout, and again; or without norms and dropout."""

    def __init__(self, norms: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for incoming, out in ((3, 6), (6, 8)):
            for first, second in ((incoming, out), (out, out)):
                layers += [conv(first, second, bias=True), *([nn.BatchNorm2d(second)] if norms else []), nn.ELU()]
            layers += [nn.MaxPool2d(2), *([nn.Dropout(0.3)] if norms else [])]
        self.features = nn.Sequential(*layers)
        deep = nn.Sequential(nn.Linear(128, 7), nn.ELU(), nn.Linear(7, 5))
        self.classifier = nn.Linear(128, 5) if norms else deep

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.AvgPool2d(2))
        self.conv2 = nn.Sequential(nn.Conv2d(4, 6, 5), nn.ReLU(), nn.AvgPool2d(2))
        self.fc1 = nn.Sequential(nn.Linear(6 * 25, 8), nn.ReLU())
        self.fc2 = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(self.conv2(self.conv1(x)).flatten(1)))


class SmallCnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(part for out, layer in ((1, 4), (4, 4)) for part in (nn.Conv2d(out, layer, 3, 2, 1), nn.Tanh()))
        )
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean((2, 3)))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.bn1 = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(F.gelu(self.fc2(F.gelu(self.bn1(self.fc1(x.flatten(1)))))))


REFERENCES: dict[str, Callable[[], nn.Module]] = {
    "resnet-a": lambda: ResNet((4, 8, 16), 2, zeros="around"),
    "resnet-a-behind": lambda: ResNet((4, 8, 16), 1, zeros="behind", head="fc"),
    "resnet-b": lambda: ResNet((4, 6, 8, 10), 2),
    "resnet-downsample": lambda: ResNet((4, 6, 8, 10), 2, "downsample", head="fc"),
    "preact": lambda: PreActivation((4, 6, 8, 10), wide=False, last_norm=""),
    "preact-norm": lambda: PreActivation((4, 6), wide=False, last_norm="bn"),
    "wrn": lambda: PreActivation((16, 20, 24), wide=True, last_norm="bn1"),
    "wrn-raw": lambda: PreActivation((16, 20, 24), wide=False, last_norm="bn1", raw=True),
    "mobilenet": MobileNet,
    "densenet": lambda: DenseNet(before=True),
    "densenet-behind": lambda: DenseNet(before=False),
    "deepid": DeepId,
    "vgg-norms": lambda: Vgg(norms=True),
    "vgg": lambda: Vgg(norms=False),
    "lenet": LeNet,
    "small_cnn": SmallCnn,
    "mlp": Mlp,
}


@pytest.fixture(scope="session")
def reference() -> Reference:
    """A network by name with random weights and running statistics, in evaluation mode."""

    def draw(name: str) -> nn.Module:
        module, generator = REFERENCES[name](), torch.Generator().manual_seed(7)
        with torch.no_grad():
            for key, tensor in module.state_dict().items():
                if tensor.is_floating_point():
                    numbers = torch.randn(tensor.shape, generator=generator)
                    fan_in = tensor[0].numel() if tensor.dim() > 1 else 4
                    tensor.copy_(numbers.abs() + 0.5 if key.endswith("_var") else numbers / fan_in**0.5)
        return module.eval()

    return draw
