"""Fitting named tensors to a spec: which tensor is which layer's weight or bias."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.spec import LayerSpec, NetworkSpec

__all__ = ["describe_tensors", "networks_from_state_dict", "usable"]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_NAMES_IN_MESSAGES = 12


@dataclass
class _Pair:
    """The weight and the bias whose names agree but for these two words."""

    weight: str = ""
    bias: str = ""


def networks_from_state_dict(
    state_dict: Mapping[str, Tensor], spec: NetworkSpec, source: str, *, ordered: bool = True
) -> Networks:
    """One network from the tensors of somebody's module.

    A weight and a bias belong together where their names agree but for these two words. The pairs are the spec's
    layers in the order given; a weight without a bias has the bias 0. A linear layer that reads a flattened map may
    come as [out, channels · height · width].

    Args:
        state_dict: Named tensors, as ``module.state_dict()`` gives them.
        spec: What the network is.
        source: Their file, for messages.
        ordered: Whether the order is that of the layers. Where it is not (safetensors files are sorted by name),
            names are sorted with their numbers as numbers, and where that order does not fit the spec, each layer
            takes the first pair with its shapes.

    Returns:
        The network (B = 1), float64 where a tensor is, else float32.

    Raises:
        ZoovetError: Names or shapes do not fit the spec (the message gives both), there are statistics of a batch
            norm, or a tensor is not of real numbers, all finite.
    """
    names = list(state_dict) if ordered else sorted(state_dict, key=_natural)
    pairs = _pair_up(names, state_dict, spec, source)
    if not ordered and not all(map(_fits, spec.layers, pairs, [state_dict] * len(pairs))):
        pairs = _by_shape(spec, pairs, state_dict) or pairs
    for index, (layer, pair) in enumerate(zip(spec.layers, pairs, strict=True)):
        _require_fit(index, layer, pair, state_dict, spec, source)
    numbers = usable(state_dict, source)
    weights, biases = [], []
    for layer, pair in zip(spec.layers, pairs, strict=True):
        weights.append(numbers[pair.weight].reshape(1, *layer.weight_shape))
        bias = numbers[pair.bias] if pair.bias else weights[-1].new_zeros(layer.out_channels)
        biases.append(bias.unsqueeze(0))
    return Networks(spec, tuple(weights), tuple(biases))


def usable(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors in one precision: float64 where one of them is, else float32.

    Raises:
        ZoovetError: One is not dense, not of real numbers, or has a NaN or an infinity; the message names it.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise ZoovetError(
                f"{source}: tensor {name!r} is {tensor.dtype}, {tensor.layout}; weights are dense real numbers"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ZoovetError(f"{source}: tensor {name!r} has NaN or infinite numbers")
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors.values()) else torch.float32
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def describe_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Names and shapes in one line: ``conv1.weight 16×3×5×5, conv1.bias 16``."""
    parts = [f"{name} {'×'.join(map(str, tensor.shape)) or 'a number'}" for name, tensor in tensors.items()]
    more = len(parts) - _NAMES_IN_MESSAGES
    return ", ".join(parts[:_NAMES_IN_MESSAGES]) + (f" and {more} more" if more > 0 else "")


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts ``layers.10`` after ``layers.2``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _pair_up(names: Sequence[str], tensors: Mapping[str, Tensor], spec: NetworkSpec, source: str) -> list[_Pair]:
    statistics = [name for name in names if name.rpartition(".")[2] in _STATISTICS]
    if statistics:
        raise ZoovetError(
            f"{source} holds statistics of a batch norm ({', '.join(statistics[:3])}), which a spec has no place for; "
            "build the module, load the file into it, and convert it with zoovet.networks.from_module, which folds "
            "batch norms into the layers before them"
        )
    pairs: dict[str, _Pair] = {}
    for name in names:
        match = re.fullmatch(r"(.*)(weight|bias)(.*)", name)
        if match is None:
            raise ZoovetError(
                f"{source}: tensor {name!r} is called neither weight nor bias; "
                f"a network's file holds the layers' weights and biases only, this one {describe_tensors(tensors)}"
            )
        prefix, kind, suffix = match.groups()
        setattr(pairs.setdefault(f"{prefix}*{suffix}", _Pair()), kind, name)
    for pair in pairs.values():
        if not pair.weight:
            raise ZoovetError(f"{source}: the bias {pair.bias!r} has no weight; {describe_tensors(tensors)}")
    if len(pairs) != len(spec.layers):
        raise ZoovetError(
            f"{source} does not fit the spec: the spec has {len(spec.layers)} layers ({spec.describe()}), "
            f"the file {len(pairs)} ({describe_tensors(tensors)})"
        )
    return list(pairs.values())


def _weight_shapes(layer: LayerSpec) -> set[tuple[int, ...]]:
    """Shapes in which a layer's weight may come."""
    shapes = {layer.weight_shape}
    if layer.kind == "linear":
        shapes.add((layer.out_channels, layer.in_channels * layer.kernel_size))
    return shapes


def _fits(layer: LayerSpec, pair: _Pair, tensors: Mapping[str, Tensor]) -> bool:
    bias_fits = not pair.bias or tuple(tensors[pair.bias].shape) == (layer.out_channels,)
    return bias_fits and tuple(tensors[pair.weight].shape) in _weight_shapes(layer)


def _by_shape(spec: NetworkSpec, pairs: Sequence[_Pair], tensors: Mapping[str, Tensor]) -> list[_Pair] | None:
    left, chosen = list(pairs), []
    for layer in spec.layers:
        pair = next((pair for pair in left if _fits(layer, pair, tensors)), None)
        if pair is None:
            return None
        left.remove(pair)
        chosen.append(pair)
    return chosen


def _require_fit(
    index: int, layer: LayerSpec, pair: _Pair, tensors: Mapping[str, Tensor], spec: NetworkSpec, source: str
) -> None:
    if _fits(layer, pair, tensors):
        return
    found = {name: tensors[name] for name in (pair.weight, pair.bias) if name}
    wanted = " or ".join("×".join(map(str, shape)) for shape in sorted(_weight_shapes(layer), key=len))
    raise ZoovetError(
        f"{source} does not fit the spec: layer {index} ({layer.kind}) must have a weight of {wanted} and a bias of "
        f"{layer.out_channels}, the file has {describe_tensors(found)}; the spec is {spec.describe()}"
    )
