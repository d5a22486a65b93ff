"""Batch norms with running statistics, folded into the layers that they follow.

A batch norm belongs to the layer whose name agrees with its own but for the words for the two (``conv1`` and ``bn1``
or ``conv1_bn``; ``stem.conv`` and ``stem.bn``), in an ``nn.Sequential`` to the one right before it (``features.3`` and
``features.4``), or else to the only one left with as many channels. Whether an activation stands between the two no
weight file says, nor its ``eps``: that none does, and 1e-5, are assumed, and whoever asks is told.

Sources: Ioffe and Szegedy 2015, *Batch Normalization*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.named_layers import BatchNorm, NamedLayer
from zoovet.readers.tensor_names import words

__all__ = ["fold_batch_norms"]

_EPS = 1e-5
_LAYER_WORDS = frozenset(
    ("conv", "convs", "conv2d", "convolution", "fc", "fcs", "linear", "lin", "dense", "layer", "d")
)
_NORM_WORDS = frozenset(("bn", "bns", "norm", "norms", "batchnorm", "batchnorms", "batch", "normalization", "d"))


def fold_batch_norms(
    layers: Sequence[NamedLayer],
    norms: Sequence[BatchNorm],
    source: str,
    *,
    ordered: bool,
    given: Mapping[str, str] | None = None,
) -> tuple[tuple[NamedLayer, ...], tuple[str, ...]]:
    """Layers that compute what they and the batch norms behind them did, in evaluation mode.

    Args:
        layers: Convolutions and linear layers, in any order.
        norms: Batch norms.
        source: Their file, for messages.
        ordered: Whether the file keeps the order of registration, in which a batch norm stands behind its layer.
        given: From a batch norm's name to that of the layer that it follows, where the user says so.

    Returns:
        The layers in the order given, and what is to be said of it.

    Raises:
        ZoovetError: Which layer a batch norm follows is open, or it follows none directly.
    """
    if not norms:
        return tuple(layers), ()
    by_name = {layer.name: layer for layer in layers}
    placed: dict[str, BatchNorm] = {}
    left = []
    for norm in norms:
        follows = (given or {}).get(norm.name) or _by_name(norm, layers, source)
        if follows is None:
            left.append(norm)
        else:
            _place(norm, by_name[follows], placed, source, ordered=ordered)
    while left:
        free = {
            norm.name: [own for own in layers if _may_follow(norm, own) and own.name not in placed] for norm in left
        }
        certain = next((norm for norm in left if len(free[norm.name]) == 1), None)
        if certain is None:
            raise _open(left[0], free[left[0].name], source)
        _place(certain, free[certain.name][0], placed, source, ordered=ordered)
        left.remove(certain)
    many = "1 batch norm" if len(norms) == 1 else f"{len(norms)} batch norms"
    note = f"{many} folded into the layers before; assumed: no activation in between, eps 1e-5"
    return tuple(_folded(layer, placed.get(layer.name)) for layer in layers), (note,)


def _by_name(norm: BatchNorm, layers: Sequence[NamedLayer], source: str) -> str | None:
    """The layer that a batch norm follows by its name; ``None`` where names do not tell."""
    parent, _, last = norm.name.rpartition(".")
    if last.isdigit():
        numbered = [own.name.rpartition(".") for own in layers]
        before = [
            int(index) for place, _, index in numbered if place == parent and index.isdigit() and int(index) < int(last)
        ]
        if before:
            if max(before) != int(last) - 1:
                raise ZoovetError(
                    f"{source}: the batch norm '{printable(norm.name, 60)}' does not follow a layer directly; only one "
                    "that does can be folded"
                )
            return f"{parent}.{max(before)}" if parent else str(max(before))
    stem = _stem(norm.name, _NORM_WORDS)
    able = [own.name for own in layers if _may_follow(norm, own)]
    for same in (
        [name for name in able if words(name) == stem],
        [name for name in able if _stem(name, _LAYER_WORDS) == stem],
    ):
        if same:
            return same[0] if len(same) == 1 else None
    return None


def _stem(name: str, without: frozenset[str]) -> list[str]:
    return [word for word in words(name) if word not in without]


def _may_follow(norm: BatchNorm, layer: NamedLayer) -> bool:
    return layer.weight.shape[0] == len(norm.mean)


def _place(norm: BatchNorm, layer: NamedLayer, placed: dict[str, BatchNorm], source: str, *, ordered: bool) -> None:
    names = f"the batch norm '{printable(norm.name, 40)}' and the layer '{printable(layer.name, 40)}'"
    if not _may_follow(norm, layer):
        raise ZoovetError(
            f"{source}: {names} have {len(norm.mean)} and {layer.weight.shape[0]} channels, it cannot follow"
        )
    if layer.name in placed:
        raise ZoovetError(
            f"{source}: {names}: the batch norm '{printable(placed[layer.name].name, 40)}' follows it too"
        )
    if ordered and norm.place < layer.place:
        raise ZoovetError(f"{source}: {names}: it stands before it; only a batch norm behind its layer can be folded")
    placed[layer.name] = norm


def _open(norm: BatchNorm, layers: Sequence[NamedLayer], source: str) -> ZoovetError:
    name = printable(norm.name, 40)
    if not layers:
        return ZoovetError(
            f"{source}: the batch norm {name!r} has {len(norm.mean)} channels and no layer before it that it could be "
            "folded into"
        )
    names = ", ".join(printable(own.name, 30) for own in layers[:4])
    return ZoovetError(
        f"{source}: which layer the batch norm {name!r} follows is open ({names}); say it: --order with all layers and "
        "batch norms as they run"
    )


def _folded(layer: NamedLayer, norm: BatchNorm | None) -> NamedLayer:
    if norm is None:
        return layer
    dtype = torch.promote_types(layer.weight.dtype, norm.mean.dtype)
    factor = torch.rsqrt(norm.variance.double() + _EPS)
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    bias = -norm.mean.double() if layer.bias is None else layer.bias.double() - norm.mean.double()
    bias = bias * factor if norm.bias is None else bias * factor + norm.bias.double()
    weight = layer.weight.double() * factor.view(-1, *[1] * (layer.weight.dim() - 1))
    return replace(layer, weight=weight.to(dtype), bias=bias.to(dtype))
