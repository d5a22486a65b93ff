"""MobileNetV2 of CIFAR size.

Names: ``conv1``, ``bn1``, ``layers.0.conv1``, ``layers.0.bn1``, … ``conv3``, ``bn3``, and ``shortcut.0`` where a block
of stride 1 widens, then ``conv2``, ``bn2``, ``linear``. A block that widens without such a shortcut halves the map.
Source:
Sandler et al. 2018, *MobileNetV2: Inverted Residuals and Linear Bottlenecks*.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from zoovet.architectures.family import ACTIVATIONS, Candidate, Family, Misfit, Settings, Shapes
from zoovet.architectures.global_head import convolutional_candidate
from zoovet.architectures.named_layers import Layers, head_of, numbered, shape_of

__all__ = ["MOBILENET_V2"]

_ACTIVATIONS = ("relu", "relu6")


@dataclass(eq=False)
class _Block:
    layers: list[nn.Module]
    shortcut: list[nn.Module]
    stride: int

    def __call__(self, values: Tensor) -> Tensor:
        kept = values
        for layer in self.layers:
            values = layer(values)
        if self.stride > 1:
            return values
        for layer in self.shortcut:
            kept = layer(kept)
        return values + kept


class _MobileNet:
    def __init__(self, layers: Layers, activation: str) -> None:
        self._make, shapes = layers, layers.shapes
        self._activation = ACTIVATIONS[activation]()
        self._layers: list[nn.Module | _Block] = [self._make.conv("conv1"), self._make.norm("bn1"), self._activation]
        self._layers += [self._block(f"layers.{index}") for index in numbered(shapes, r"layers\.(\d+)\.")]
        self._layers += [self._make.conv("conv2"), self._make.norm("bn2"), self._activation]
        self._head = self._make.linear(head_of(shapes))

    def __call__(self, images: Tensor) -> Tensor:
        values = images
        for layer in self._layers:
            values = layer(values)
        logits: Tensor = self._head(values.mean((2, 3)))
        return logits

    def _block(self, name: str) -> _Block:
        stride, layers = _stride(self._make.shapes, name), list[nn.Module]()
        for index in (1, 2, 3):
            groups = shape_of(self._make.shapes, f"{name}.conv2.weight", 4)[0] if index == 2 else 1
            layers.append(self._make.conv(f"{name}.conv{index}", stride=stride if index == 2 else 1, groups=groups))
            layers.append(self._make.norm(f"{name}.bn{index}"))
            layers += [self._activation] if index < 3 else []
        has_shortcut = f"{name}.shortcut.0.weight" in self._make.shapes
        shortcut: list[nn.Module] = []
        if has_shortcut:
            shortcut = [self._make.conv(f"{name}.shortcut.0"), self._make.norm(f"{name}.shortcut.1")]
        return _Block(layers, shortcut, stride)


def _stride(shapes: Shapes, name: str) -> int:
    incoming = shape_of(shapes, f"{name}.conv1.weight", 4)[1]
    outgoing = shape_of(shapes, f"{name}.conv3.weight", 4)[0]
    return 1 if incoming == outgoing or f"{name}.shortcut.0.weight" in shapes else 2


def _match(shapes: Shapes, settings: Settings) -> Candidate:
    for index in numbered(shapes, r"layers\.(\d+)\."):
        if shape_of(shapes, f"layers.{index}.conv2.weight", 4)[1] != 1:
            raise Misfit(f"has no depthwise convolution, layers.{index}.conv2")
    return convolutional_candidate(
        MOBILENET_V2.name,
        "MobileNetV2",
        shapes,
        settings,
        head=head_of(shapes),
        derived={},
        choices={"activation": _ACTIVATIONS},
        make=lambda layers, chosen: _MobileNet(layers, chosen["activation"]),
    )


MOBILENET_V2 = Family(
    name="mobilenet_v2",
    summary="MobileNetV2 of CIFAR size",
    pattern=r"mobilenetv2",
    options={"activation": _ACTIVATIONS},
    match=_match,
)
