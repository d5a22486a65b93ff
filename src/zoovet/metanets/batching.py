"""Reading networks at the door: checked, in the model's precision, in buckets of one spec and one symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.features import Weights
from zoovet.metanets.layout import Bucket
from zoovet.networks.batch import Networks
from zoovet.networks.spec import ACTIVATIONS, NetworkSpec
from zoovet.symmetry import Symmetry, group_symmetries

__all__ = ["Batch", "NodeFeatures", "read_batch"]

NodeFeatures = Sequence[Tensor] | Sequence[Sequence[Tensor]]

_ACCEPTED: dict[str, tuple[str, ...]] = {"scale": ("scale",), "sign": ("sign",)}


@dataclass(frozen=True)
class Batch:
    """What a forward pass works on.

    Attributes:
        buckets: What the networks are.
        contents: Their tensors.
        given: Per bucket, which of the ``Networks`` that were given, and which of its rows (``None`` for all).
        specs: Specs of the ``Networks`` that were given.
    """

    buckets: tuple[Bucket, ...]
    contents: tuple[Weights, ...]
    given: tuple[tuple[int, Tensor | None], ...]
    specs: tuple[NetworkSpec, ...]

    def networks(self) -> list[Networks]:
        """Every bucket's networks."""
        pairs = zip(self.buckets, self.contents, strict=True)
        return [Networks(bucket.spec, content.weights, content.biases) for bucket, content in pairs]

    def with_node_features(self, features: Sequence[Sequence[Tensor]]) -> Batch:
        """The same with further features, per bucket and channel group [B, n, k], behind those that it has."""
        contents = []
        for content, more in zip(self.contents, features, strict=True):
            if content.node_features is not None:
                more = [torch.cat(pair, dim=2) for pair in zip(content.node_features, more, strict=True)]
            contents.append(replace(content, node_features=tuple(more)))
        return replace(self, contents=tuple(contents))

    def with_last_features(self, features: Sequence[Tensor]) -> Batch:
        """The same with further features of the last nodes, per ``Networks`` that were given [B, nodes, k].

        These are the output nodes, or all hidden and output nodes, group by group; the others get zeros.
        """
        padded = []
        for bucket, (which, index) in zip(self.buckets, self.given, strict=True):
            own = features[which] if index is None else features[which][index]
            sizes = [group.size for group in bucket.spec.groups]
            missing = sum(sizes) - own.shape[1]
            padded.append(torch.split(functional.pad(own, (0, 0, missing, 0)), sizes, dim=1))
        return self.with_node_features(padded)

    def with_gradients(self, gradients: Sequence[Sequence[Networks]]) -> Batch:
        """The same with gradients of the weights and biases, per ``Networks`` that were given some like them."""
        contents = []
        for content, (which, index) in zip(self.contents, self.given, strict=True):
            own = [one if index is None else one[index] for one in gradients[which]]
            contents.append(replace(content, gradients=tuple((one.weights, one.biases) for one in own)))
        return replace(self, contents=tuple(contents))

    def in_order(self, rows: Tensor) -> Tensor:
        """Rows [networks, k], bucket by bucket, in the order in which the networks were given."""
        if all(index is None for _, index in self.given):
            return rows
        offsets, position = {}, 0
        for which in range(len(self.specs)):
            offsets[which] = position
            position += sum(
                bucket.size for bucket, (source, _) in zip(self.buckets, self.given, strict=True) if source == which
            )
        places = [
            offsets[which] + (torch.arange(bucket.size, device=rows.device) if index is None else index)
            for bucket, (which, index) in zip(self.buckets, self.given, strict=True)
        ]
        return rows[torch.cat(places).argsort()]

    def merged(self, parts: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """Tensors [B, …] per bucket as tensors per ``Networks`` that were given, their networks in order."""
        merged: list[list[Tensor]] = []
        for which in range(len(self.specs)):
            members = [
                (index, part) for (source, index), part in zip(self.given, parts, strict=True) if source == which
            ]
            if len(members) == 1 and members[0][0] is None:
                merged.append(list(members[0][1]))
                continue
            order = torch.cat([index for index, _ in members if index is not None]).argsort()
            merged.append([torch.cat(tensors)[order] for tensors in zip(*(part for _, part in members), strict=True)])
        return merged


def read_batch(
    networks: Networks | Sequence[Networks],
    activations: Sequence[str] | None,
    node_features: NodeFeatures | None,
    *,
    config: ScaleGMNConfig,
    behaviour: ReleasedBehaviour,
    dtype: torch.dtype,
) -> Batch:
    """Check what was given to a model and sort it into buckets.

    Args:
        networks, activations, node_features: As given to ``ScaleGMN.forward``.
        config: What the model has room for.
        behaviour: How it tells symmetries.
        dtype: Its precision.

    Returns:
        The batch.

    Raises:
        ZoovetError: Something does not fit; the message says what, where, and what was expected.
    """
    given = [networks] if isinstance(networks, Networks) else list(networks)
    if not given or not all(isinstance(part, Networks) for part in given):
        names = ", ".join(type(part).__name__ for part in given) or "nothing"
        raise ZoovetError(f"a metanetwork reads Networks or a list of them, got {names}")
    total = sum(map(len, given))
    if activations is not None and len(activations) != total:
        raise ZoovetError(f"activations must name one for each of the {total} networks, got {len(activations)}")
    features = _split_features(node_features, isinstance(networks, Networks), given, config.num_node_features)
    buckets, contents, places = [], [], []
    position = 0
    for which, part in enumerate(given):
        part.require_finite("the networks" if len(given) == 1 else f"networks[{which}]")
        own = None if activations is None else activations[position : position + len(part)]
        position += len(part)
        for spec, index in _by_activation(part.spec, own, part.device):
            _require_room(spec, config)
            size = len(part) if index is None else len(index)
            buckets.append(_bucket(spec, size, config, behaviour))
            contents.append(_contents(part, features[which], index, dtype))
            places.append((which, index))
    return Batch(tuple(buckets), tuple(contents), tuple(places), tuple(part.spec for part in given))


def _contents(
    networks: Networks, features: Sequence[Tensor] | None, index: Tensor | None, dtype: torch.dtype
) -> Weights:
    def taken(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple((tensor if index is None else tensor[index]).to(dtype) for tensor in tensors)

    return Weights(taken(networks.weights), taken(networks.biases), None if features is None else taken(features))


def _by_activation(
    spec: NetworkSpec, names: Sequence[str] | None, device: torch.device
) -> list[tuple[NetworkSpec, Tensor | None]]:
    """(spec with that activation, rows of it) for each activation; all rows of the spec itself without names."""
    if names is None:
        return [(spec, None)]
    for name in names:
        if name not in ACTIVATIONS:
            raise ZoovetError(f"activation {name!r} is unknown; known: {', '.join(ACTIVATIONS)}")
    parts: list[tuple[NetworkSpec, Tensor | None]] = []
    for name in dict.fromkeys(names):
        rows = [row for row, other in enumerate(names) if other == name]
        parts.append((_with_activation(spec, name), torch.tensor(rows, device=device)))
    return parts


@lru_cache(maxsize=256)
def _with_activation(spec: NetworkSpec, name: str) -> NetworkSpec:
    hidden = (
        layer if layer.activation == name else replace(layer, activation=name, activation_parameter=None)
        for layer in spec.layers[:-1]
    )
    return replace(spec, layers=(*hidden, spec.layers[-1]))


@lru_cache(maxsize=1024)
def _bucket(spec: NetworkSpec, size: int, config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> Bucket:
    symmetries = group_symmetries(spec)
    if behaviour.symmetry_from_activation:
        symmetries = group_symmetries(_without_max_pooling(spec))
    hidden = [symmetry for group, symmetry in zip(spec.groups, symmetries, strict=True) if group.role == "hidden"]
    accepted = _ACCEPTED.get(config.symmetry)
    if config.symmetry == "mixed":
        accepted = (*behaviour.branches, *(("nonzero",) if "permutation" in behaviour.branches else ()))
    for symmetry in hidden:
        if accepted is not None and symmetry not in accepted:
            raise ZoovetError(
                f"a metanetwork with symmetry {config.symmetry!r} reads hidden groups with the symmetry "
                f"{' or '.join(accepted)}, got {symmetry!r} in {spec.describe()}; use symmetry 'mixed' for networks "
                f"of several kinds"
            )
    if config.symmetry == "permutation":
        symmetries = tuple("permutation" if symmetry != "fixed" else "fixed" for symmetry in symmetries)
    fallback: Symmetry = "scale" if config.symmetry == "mixed" else config.symmetry
    return Bucket(spec, size, symmetries, hidden[0] if hidden and config.symmetry != "permutation" else fallback)


def _without_max_pooling(spec: NetworkSpec) -> NetworkSpec:
    """The spec with average pooling, which commutes with every scalar, in place of max pooling."""
    layers = (
        replace(layer, pool=replace(layer.pool, kind="average"))
        if layer.pool is not None and layer.pool.kind == "max"
        else layer
        for layer in spec.layers
    )
    return replace(spec, layers=tuple(layers))


def _require_room(spec: NetworkSpec, config: ScaleGMNConfig) -> None:
    kernels = [layer.kernel or (1, 1) for layer in spec.layers]
    rooms = (
        ("max_inputs", spec.groups[0].size, config.max_inputs, "input channels"),
        ("max_depth", len(spec.groups) - 2, config.max_depth, "hidden layers"),
        ("max_outputs", spec.num_outputs, config.max_outputs, "output channels"),
        ("max_kernel", max(kernel[0] for kernel in kernels), config.max_kernel[0], "rows of a kernel"),
        ("max_kernel", max(kernel[1] for kernel in kernels), config.max_kernel[1], "columns of a kernel"),
    )
    for name, size, room, what in rooms:
        if size > room:
            raise ZoovetError(
                f"the metanetwork has room for {room} {what} ({name}), but {spec.describe()} has {size}; "
                f"build it with a larger {name}"
            )


def _split_features(
    features: NodeFeatures | None, is_single: bool, given: Sequence[Networks], width: int
) -> list[Sequence[Tensor] | None]:
    if features is None:
        if width:
            raise ZoovetError(f"the metanetwork needs node_features of width {width} (num_node_features), got none")
        return [None] * len(given)
    parts = cast("list[Sequence[Tensor]]", [features] if is_single else list(features))
    if len(parts) != len(given):
        raise ZoovetError(f"node_features must be one list for each of the {len(given)} networks, got {len(parts)}")
    for part, networks in zip(parts, given, strict=True):
        shapes = [(len(networks), group.size, width) for group in networks.spec.groups]
        got = [tuple(tensor.shape) for tensor in part]
        if got != shapes:
            raise ZoovetError(f"node_features must have the shapes {shapes}, one for each channel group, got {got}")
    return [tuple(part) for part in parts]
