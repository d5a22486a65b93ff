"""The variables of a Keras file's layers, found by the paths under which Keras keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.keras.model import Layer
from zoovet.readers.loaded import GraphData, tensor_of

__all__ = ["layer_tensors"]

_ROOTS = ("layers", "_layer_checkpoint_dependencies")
_WHOLE = "model_weights"
_FLOATS = (torch.float16, torch.float32, torch.float64)


def layer_tensors(data: GraphData, layers: list[Layer]) -> dict[str, list[Tensor]]:
    """The variables of each layer, by its name, in Keras' order and layout.

    Args:
        data: What the file holds.
        layers: Of the model.

    Returns:
        Tensors of float32; none of layers that the file has none for.

    Raises:
        ZoovetError: One is not whole, lies elsewhere, or has numbers beyond float32; or the file has another layer at a
            layer's place.
    """
    stored = _Stored(data)
    found: dict[str, list[Tensor]] = {}
    for layer in layers:
        if layer.name not in found:
            found[layer.name] = stored.of(layer)
    return found


class _Stored:
    def __init__(self, data: GraphData) -> None:
        self.data = data
        self.nodes: Mapping[str, Any] = data.description["tensors"]
        self.listed: Mapping[str, list[str]] = data.description["weight_names"]
        self.names: Mapping[str, str] = data.description["names"]
        self.root = next((root for root in _ROOTS if any(path.startswith(f"{root}/") for path in self.nodes)), None)

    def of(self, layer: Layer) -> list[Tensor]:
        if self.root is not None:
            return self._numbered(layer)
        outer, *inner = layer.path
        group = f"{_WHOLE}/{outer}"
        paths = [f"{group}/{name}" for name in self.listed.get(group, [])]
        if inner:
            paths = [path for path in paths if _is_within(path.removeprefix(group).split("/")[:-1], inner)]
        return [self._tensor(path) for path in paths]

    def _numbered(self, layer: Layer) -> list[Tensor]:
        place = f"{self.root}/{layer.stored_as}/vars"
        named = self.names.get(place)
        if named is not None and named != layer.path[-1]:
            raise ZoovetError(
                f"its weights of '{printable(layer.path[-1], 60)}' are those of '{printable(named, 60)}': the file is "
                "not whole, or was put together"
            )
        tensors: list[Tensor] = []
        while f"{place}/{len(tensors)}" in self.nodes:
            tensors.append(self._tensor(f"{place}/{len(tensors)}"))
        return tensors

    def _tensor(self, path: str) -> Tensor:
        node = self.nodes.get(path)
        shown = f"its tensor '{printable(path, 120)}'"
        if node is None:
            behind = next((one for one in self.nodes if path.startswith(f"{one}/")), None)
            node = None if behind is None else self.nodes[behind]
        if node is None or node[0] == "refused":
            raise ZoovetError(f"{shown} {'is missing' if node is None else node[1]}")
        tensor = tensor_of(self.data, node)
        if tensor.dtype not in _FLOATS:
            return tensor.to(torch.float32)
        whole = tensor.to(torch.float32)
        if bool((torch.isfinite(tensor) & ~torch.isfinite(whole)).any()):
            raise ZoovetError(f"{shown} has numbers beyond the range of float32")
        return whole


def _is_within(parts: list[str], wanted: list[str]) -> bool:
    """Whether names stand in a path, one behind the other."""
    left = iter(parts)
    return all(name in left for name in wanted)
