"""Residual networks of He et al.: CIFAR ResNets of any depth (20, 32, 44, 56, 110), ResNet-18 and the like.

Names: ``conv1``, ``bn1``, ``layer1.0.conv1``, ``layer1.0.bn1``, …, ``layer1.0.shortcut.0`` or ``downsample.0``, then
``linear`` or ``fc``. The first stage keeps the size of the map, each other halves it; a stem of 7×7 halves it twice
before (stride 2, then a max pooling of 3). Source: He et al. 2015, *Deep Residual Learning for Image Recognition*.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.architectures.family import Candidate, Family, Misfit, Settings, Shapes
from zoovet.architectures.global_head import convolutional_candidate
from zoovet.architectures.named_layers import Layers, head_of, numbered, shape_of

__all__ = ["RESNET"]

_ZEROS = ("around", "behind")


@dataclass(eq=False)
class _Block:
    convs: list[nn.Conv2d] = field(default_factory=list)
    norms: list[nn.Module] = field(default_factory=list)
    shortcut: list[nn.Module] = field(default_factory=list)
    stride: int = 1
    zeros: str = ""

    def __call__(self, values: Tensor) -> Tensor:
        last, kept = len(self.convs) - 1, values
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            values = norm(conv(values))
            values = values if index == last else F.relu(values)
        for layer in self.shortcut:
            kept = layer(kept)
        if not self.shortcut:
            kept = self._without_weights(kept, values.shape[1])
        return F.relu(values + kept)

    def _without_weights(self, kept: Tensor, channels: int) -> Tensor:
        if self.stride > 1:
            kept = kept[:, :, :: self.stride, :: self.stride]
        missing = channels - kept.shape[1]
        if missing == 0:
            return kept
        before = missing // 2 if self.zeros == "around" else 0
        return F.pad(kept, (0, 0, 0, 0, before, missing - before))


class _ResNet:
    def __init__(self, layers: Layers, zeros: str) -> None:
        self._make, shapes = layers, layers.shapes
        self._is_large = shape_of(shapes, "conv1.weight", 4)[2] == 7
        self._stem = [self._make.conv("conv1", stride=2 if self._is_large else 1), self._make.norm("bn1")]
        self._blocks = [self._block(name, stride, zeros) for name, stride in _blocks_of(shapes)]
        self._head = self._make.linear(head_of(shapes))

    def __call__(self, images: Tensor) -> Tensor:
        values = images
        for layer in self._stem:
            values = layer(values)
        values = F.relu(values)
        if self._is_large:
            values = F.max_pool2d(values, 3, 2, 1)
        for block in self._blocks:
            values = block(values)
        logits: Tensor = self._head(values.mean((2, 3)))
        return logits

    def _block(self, name: str, stride: int, zeros: str) -> _Block:
        shapes, block = self._make.shapes, _Block(stride=stride, zeros=zeros)
        count = len(numbered(shapes, rf"{name}\.conv(\d+)\."))
        strided = 1 if count == 3 else 0
        for index in range(count):
            conv = f"{name}.conv{index + 1}"
            groups = 1
            if index == 1 and count == 3:  # ResNeXt
                incoming = shape_of(shapes, f"{name}.conv1.weight", 4)[0]
                groups = max(1, incoming // shape_of(shapes, f"{conv}.weight", 4)[1])
            block.convs.append(self._make.conv(conv, stride=stride if index == strided else 1, groups=groups))
            block.norms.append(self._make.norm(f"{name}.bn{index + 1}"))
        for kind in ("shortcut", "downsample"):
            if f"{name}.{kind}.0.weight" in shapes:
                start = f"{name}.{kind}"
                block.shortcut = [self._make.conv(f"{start}.0", stride=stride), self._make.norm(f"{start}.1")]
        return block


def _blocks_of(shapes: Shapes) -> list[tuple[str, int]]:
    """Names of the blocks and their strides."""
    stages = numbered(shapes, r"layer(\d+)\.")
    return [
        (f"layer{stage}.{index}", 2 if index == 0 and stage != stages[0] else 1)
        for stage in stages
        for index in numbered(shapes, rf"layer{stage}\.(\d+)\.")
    ]


def _match(shapes: Shapes, settings: Settings) -> Candidate:
    if "bn1.running_mean" not in shapes or shape_of(shapes, "conv1.weight", 4)[2] not in (3, 7):
        raise Misfit("has no first convolution of 3×3 or 7×7 and batch norm, conv1 and bn1")
    blocks = _blocks_of(shapes)
    first = blocks[0][0]
    if shape_of(shapes, f"{first}.bn1.running_mean", 1) != shape_of(shapes, f"{first}.conv1.weight", 4)[:1]:
        raise Misfit("has batch norms that are not behind their convolutions")
    depth = 2 + sum(len(numbered(shapes, rf"{name}\.conv(\d+)\.")) for name, _ in blocks)
    widens = any(_widens_without_weights(shapes, name) for name, _ in blocks)
    return convolutional_candidate(
        "resnet",
        f"ResNet-{depth}",
        shapes,
        settings,
        head=head_of(shapes),
        derived={"depth": depth},
        choices={"zeros": _ZEROS} if widens else {},
        make=lambda layers, chosen: _ResNet(layers, chosen.get("zeros", "")),
    )


def _widens_without_weights(shapes: Shapes, name: str) -> bool:
    """Whether a shortcut has more channels at its end without weights of its own: zeros are added."""
    last = numbered(shapes, rf"{name}\.conv(\d+)\.")[-1]
    incoming = shape_of(shapes, f"{name}.conv1.weight", 4)[1]
    outgoing = shape_of(shapes, f"{name}.conv{last}.weight", 4)[0]
    has_weights = any(f"{name}.{kind}.0.weight" in shapes for kind in ("shortcut", "downsample"))
    return incoming < outgoing and not has_weights


RESNET = Family(
    name="resnet",
    summary="residual network of CIFAR's or ImageNet's kind; zeros: where channels of a shortcut without weights go",
    pattern=r"resnet[-_]?(?P<depth>\d+)",
    options={"zeros": _ZEROS},
    match=_match,
)
