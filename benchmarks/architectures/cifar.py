"""Networks of CIFAR's size as their papers draw them, under the names that public code gives their tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LeNet", "Mlp", "PreActivation", "ResNet", "vgg16_bn"]


def conv(incoming: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution without a bias that keeps the map's size but for its stride."""
    return nn.Conv2d(incoming, out, kernel, stride, kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut: the identity, a 1×1 convolution, or every other pixel and zeros."""

    def __init__(self, incoming: int, out: int, stride: int, *, zeros: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(incoming, out, 3, stride), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = conv(out, out), nn.BatchNorm2d(out)
        self.missing = out - incoming if zeros else 0
        self.shortcut = nn.Sequential()
        if incoming != out and not zeros:
            self.shortcut = nn.Sequential(conv(incoming, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """[N, incoming, H, W] to [N, out, …]."""
        kept = self.shortcut(x)
        if self.missing:
            kept = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.missing // 2, self.missing - self.missing // 2))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + kept)


class PreBlock(nn.Module):
    """The same with norms and activations before the convolutions."""

    def __init__(self, incoming: int, out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(incoming), conv(incoming, out, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(out), conv(out, out)
        self.name = shortcut if incoming != out else ""
        if self.name:
            short = conv(incoming, out, 1, stride)
            self.add_module(self.name, nn.Sequential(short) if shortcut == "shortcut" else short)

    def forward(self, x: Tensor) -> Tensor:
        """[N, incoming, H, W] to [N, out, …]."""
        active = F.relu(self.bn1(x))
        kept = self.get_submodule(self.name)(active) if self.name else x
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + kept


class ResNet(nn.Module):
    """He et al. 2016, section 4.2 (three widths, zeros), or ResNet-18 with a 3×3 stem (four widths)."""

    def __init__(self, widths: Sequence[int], blocks: int, *, zeros: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, widths[0]), nn.BatchNorm2d(widths[0])
        self.num_stages, incoming = len(widths), widths[0]
        for stage, width in enumerate(widths, start=1):
            layers = []
            for index in range(blocks):
                layers.append(BasicBlock(incoming, width, 2 if stage > 1 and not index else 1, zeros=zeros))
                incoming = width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.linear = nn.Linear(incoming, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 10]."""
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.num_stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


class PreActivation(nn.Module):
    """PreAct-ResNet-18, or with ``wide`` a wide residual network whose last norm stands before the pooling."""

    def __init__(self, widths: Sequence[int], *, wide: bool) -> None:
        super().__init__()
        incoming = 16 if wide else widths[0]
        self.conv1, self.is_wide, self.num_stages = conv(3, incoming), wide, len(widths)
        for stage, width in enumerate(widths, start=1):
            blocks = []
            for index in range(2):
                stride, name = 2 if stage > 1 and not index else 1, "convShortcut" if wide else "shortcut"
                blocks.append(PreBlock(incoming, width, stride, name))
                incoming = width
            if wide:
                holder = nn.Module()
                holder.layer = nn.Sequential(*blocks)
                self.add_module(f"block{stage}", holder)
            else:
                self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.bn1, self.fc = (nn.BatchNorm2d(incoming), nn.Linear(incoming, 10)) if wide else (None, None)
        self.linear = None if wide else nn.Linear(incoming, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 10]."""
        x = self.conv1(x)
        for stage in range(1, self.num_stages + 1):
            x = self.get_submodule(f"block{stage}.layer" if self.is_wide else f"layer{stage}")(x)
        x = x if self.bn1 is None else F.relu(self.bn1(x))
        head = self.fc or self.linear
        assert head is not None
        return head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Vgg(nn.Module):
    """Convolutions with batch norms, and one linear layer."""

    def __init__(self, widths: Sequence[int | str]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        incoming = 3
        for width in widths:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(incoming, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            incoming = width
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(incoming, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 32, 32] to [N, 10]."""
        return self.classifier(self.features(x).flatten(1))


def vgg16_bn() -> nn.Module:
    """VGG-16 with batch norm of CIFAR's size."""
    return Vgg((64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"))


class LeNet(nn.Module):
    """Two convolutions, max poolings, three linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 32, 32] to [N, 10]."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Mlp(nn.Module):
    """Three linear layers on an image."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 256), nn.Linear(256, 256), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, 28, 28] to [N, 10]."""
        return self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(x.flatten(1))))))
