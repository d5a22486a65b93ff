"""Layers that run one after another: their order and their batch norms among names and shapes, and the module."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoovet.architectures.family import ACTIVATIONS, Misfit, Settings, Shapes
from zoovet.architectures.named_layers import Layers
from zoovet.networks import LayerSpec
from zoovet.printable import printable
from zoovet.readers.layer_order import LayerOrderError, assigned_in_order
from zoovet.readers.named_layers import NamedLayer
from zoovet.readers.tensor_names import number_form

__all__ = ["ChainLayer", "chain_layers", "chain_module"]

_CONV_WORDS, _NORM_WORDS = r"(conv2d|conv|fc|linear)", ("bn", "norm", "batchnorm")


@dataclass(frozen=True, kw_only=True)
class ChainLayer:
    """A convolution or a linear layer, and what follows it.

    Attributes:
        name: Of its tensors, without ``weight`` and ``bias``.
        shape: Of its weight.
        norm: Name of the batch norm behind it, or empty.
        stride, padding: Of a convolution; no padding means half the kernel.
        pooling: What follows the activation: ``max``, ``average`` over 2×2, or ``mean``, ``highest`` of the whole map.
    """

    name: str
    shape: tuple[int, ...]
    norm: str = ""
    stride: int = 1
    padding: int | None = None
    pooling: str = ""

    @property
    def is_conv(self) -> bool:
        """Whether it is a convolution."""
        return len(self.shape) == 4


class _Chain:
    def __init__(self, layers: Layers, chain: Sequence[ChainLayer], activation: str) -> None:
        self._steps: list[nn.Module] = [] if chain[0].is_conv else [nn.Flatten()]
        for index, layer in enumerate(chain):
            is_last = index == len(chain) - 1
            if layer.is_conv:
                self._steps.append(layers.conv(layer.name, stride=layer.stride, padding=layer.padding))
            else:
                self._steps.append(layers.linear(layer.name))
            if layer.norm:
                self._steps.append(layers.norm(layer.norm, 2 if layer.is_conv else 1))
            if not is_last:
                self._steps.append(ACTIVATIONS[activation]())
            if layer.pooling:
                self._steps.append(_POOLINGS[layer.pooling]())
            if layer.is_conv and not is_last and not chain[index + 1].is_conv:
                self._steps.append(nn.Flatten())

    def __call__(self, images: Tensor) -> Tensor:
        values = images
        for step in self._steps:
            values = step(values)
        return values


_POOLINGS: Mapping[str, Callable[[], nn.Module]] = {
    "max": lambda: nn.MaxPool2d(2),
    "average": lambda: nn.AvgPool2d(2),
    "mean": lambda: nn.AdaptiveAvgPool2d(1),
    "highest": lambda: nn.AdaptiveMaxPool2d(1),
}


def chain_module(shapes: Shapes, chain: Sequence[ChainLayer], activation: str) -> nn.Module:
    """The module of layers one after another; all but the last have the activation.

    Args:
        shapes: Names and shapes of the tensors.
        chain: In the order in which they run.
        activation: A key of :data:`ACTIVATIONS`.
    """
    layers = Layers(shapes)
    return layers.module(_Chain(layers, chain, activation))


def chain_layers(shapes: Shapes, settings: Settings) -> list[ChainLayer]:
    """The layers in the order in which they run: convolutions first, then linear layers.

    Raises:
        Misfit: They do not read one another, a tensor is no part of one, or their order is open.
    """
    weights = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if name.endswith(".weight")}
    layers = [(name, shape) for name, shape in weights.items() if len(shape) in (2, 4) and 0 not in shape]
    if not layers or (len(layers[-1][1]) != 2 and not any(len(shape) == 2 for _, shape in layers)):
        raise Misfit("has no linear layer")
    ordered = settings.is_ordered
    proposed = sorted(layers, key=lambda one: (-len(one[1]), () if ordered else number_form(one[0])))
    named = [
        NamedLayer(name, torch.empty(shape, device="meta"), None, place) for place, (name, shape) in enumerate(layers)
    ]
    graphs = [_graph(shape) for _, shape in proposed]
    try:
        assigned = assigned_in_order(named, graphs, "it", ordered=ordered)
    except LayerOrderError as error:
        reason = str(error).removeprefix("it: ").split(", and names do")[0]
        raise Misfit(f"leaves it open {reason}; --architecture my_net.py:make settles it") from None
    in_order = [(own.name, tuple(own.weight.shape)) for own in assigned or ()]
    for (before, first), (behind, second) in itertools.pairwise(in_order):
        fits = second[1] % first[0] == 0 if len(first) > len(second) else second[1] == first[0]
        if not fits:
            shown = f"{printable(behind, 40)} read {second[1]} channels, {printable(before, 40)} makes {first[0]}"
            raise Misfit(f"has {shown}")
    norms = _norms_of(shapes, in_order)
    return [ChainLayer(name=name, shape=shape, norm=norms.get(name, "")) for name, shape in in_order]


def _graph(shape: tuple[int, ...]) -> LayerSpec:
    if len(shape) == 4:
        return LayerSpec(kind="conv", in_channels=shape[1], out_channels=shape[0], kernel=shape[2:])
    return LayerSpec(kind="linear", in_channels=shape[1], out_channels=shape[0])


def _norms_of(shapes: Shapes, layers: Sequence[tuple[str, tuple[int, ...]]]) -> dict[str, str]:
    """Name of a layer → that of the batch norm behind it."""
    norms = {name.removesuffix(".running_mean"): shape for name, shape in shapes.items() if name.endswith("_mean")}
    found: dict[str, str] = {}
    for name, shape in layers:
        own = [norm for norm in _usual_norms(name) if norms.get(norm) == shape[:1] and norm not in found.values()]
        if own:
            found[name] = own[0]
    if len(found) < len(norms):
        left = next(norm for norm in norms if norm not in found.values())
        raise Misfit(f"has a batch norm {printable(left, 40)} that follows no layer by its name")
    return found


def _usual_norms(name: str) -> list[str]:
    before, _, last = name.rpartition(".")
    start = f"{before}." if before else ""
    own = [f"{start}{int(last) + 1}"] if last.isascii() and last.isdigit() and len(last) < 6 else []
    for word in _NORM_WORDS:
        own += [re.sub(_CONV_WORDS, word, name), f"{name}_{word}", start + re.sub(_CONV_WORDS, word, last)]
    return own
