"""Modules whose layers are made from the names and shapes of a state dict, and bear its names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor, nn

from zoovet.architectures.family import Misfit, Shapes
from zoovet.networks.module_paths import made_parent
from zoovet.printable import printable

__all__ = ["Layers", "NamedModule", "head_of", "numbered", "shape_of"]

_Layer = TypeVar("_Layer", bound=nn.Module)
_HEADS = ("linear", "fc", "classifier", "head", "output", "fc1", "fc_out", "last_layer", "logits")


class NamedModule(nn.Module):
    """Layers under the names of a state dict, nested as their dots say, and what runs them.

    Args:
        layers: Name → layer.
        run: From images [N, ...] to logits [N, classes]; it calls these layers.

    Raises:
        Misfit: A module cannot have a layer of such a name.
    """

    def __init__(self, layers: Mapping[str, nn.Module], run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._run = run
        for name, layer in layers.items():
            try:
                parent, last = made_parent(self, name)
                parent.add_module(last, layer)
            except (KeyError, AttributeError):
                raise Misfit(f"has a layer that cannot be called {printable(name, 60)}") from None

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, ...]."""
        return self._run(images)


class Layers:
    """Makes layers from the names and shapes of a state dict.

    Args:
        shapes: Names and shapes of the tensors.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = dict(shapes)
        self._made: dict[str, nn.Module] = {}

    def conv(self, name: str, *, stride: int = 1, padding: int | None = None, groups: int = 1) -> nn.Conv2d:
        """A convolution; its padding keeps the size of the map where none is given."""
        out, incoming, height, width = shape_of(self.shapes, f"{name}.weight", 4)
        pads = (height // 2, width // 2) if padding is None else (padding, padding)
        if out % groups:
            raise Misfit(f"has {out} channels in {printable(name, 60)}, which {groups} groups do not divide")
        has_bias = f"{name}.bias" in self.shapes
        return self._kept(
            name, nn.Conv2d(incoming * groups, out, (height, width), stride, pads, groups=groups, bias=has_bias)
        )

    def norm(self, name: str, dimensions: int = 2) -> nn.Module:
        """A batch norm of maps (2) or of features (1)."""
        (channels,) = shape_of(self.shapes, f"{name}.running_mean", 1)
        kind = nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm1d
        return self._kept(name, kind(channels, affine=f"{name}.weight" in self.shapes))

    def linear(self, name: str) -> nn.Linear:
        """A linear layer."""
        out, incoming = shape_of(self.shapes, f"{name}.weight", 2)
        return self._kept(name, nn.Linear(incoming, out, bias=f"{name}.bias" in self.shapes))

    def module(self, run: Callable[[Tensor], Tensor]) -> NamedModule:
        """The module of the layers that were made."""
        return NamedModule(self._made, run)

    def _kept(self, name: str, layer: _Layer) -> _Layer:
        self._made[name] = layer
        return layer


def shape_of(shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    """A tensor's shape.

    Raises:
        Misfit: It is not there, or has another number of axes, or no numbers.
    """
    if name not in shapes:
        raise Misfit(f"lacks {printable(name, 60)}")
    shape = shapes[name]
    if len(shape) != axes or 0 in shape:
        raise Misfit(f"has {printable(name, 60)} of {'×'.join(map(str, shape)) or 'one number'}, expected {axes} axes")
    return shape


def numbered(shapes: Shapes, pattern: str) -> list[int]:
    """The numbers that stand in names at the one group of a pattern, which must be without a gap.

    Raises:
        Misfit: There is a gap, or there is none.
    """
    matches = (re.match(pattern, name) for name in shapes)
    found = sorted({int(match[1]) for match in matches if match and len(match[1]) < 6})
    if not found or found != list(range(found[0], found[0] + len(found))) or found[0] > 1:
        raise Misfit(f"has no layers that are called {pattern.replace(chr(92), '').replace('(d+)', '0').rstrip('.')}")
    return found


def head_of(shapes: Shapes, names: Sequence[str] = _HEADS) -> str:
    """The name of the one linear layer at the top.

    Raises:
        Misfit: There is none, or there are several.
    """
    found = [name for name in names if len(shapes.get(f"{name}.weight", ())) == 2]
    if len(found) != 1:
        raise Misfit("lacks a linear layer at its end" if not found else "has several linear layers")
    return found[0]
