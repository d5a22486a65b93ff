"""Reading networks at the door: checked, in the model's precision, in buckets of one structure and one symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence.evidence import Evidence
from zoovet.evidence.inversion_config import InversionConfig
from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.contents import Weights
from zoovet.metanets.evidence_numbers import evidence_features, evidence_gradients
from zoovet.metanets.graph_numbers import graph_weights
from zoovet.metanets.graph_structure import graph_structure
from zoovet.metanets.layout import Bucket
from zoovet.metanets.structure import Structure, chain_structure
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.graph_batch import GraphNetworks
from zoovet.networks.spec import ACTIVATIONS, NetworkSpec
from zoovet.symmetry import Symmetry, group_symmetries

__all__ = ["AnyNetworks", "Batch", "NodeFeatures", "listed", "read_batch", "require_chains"]

AnyNetworks = Networks | GraphNetworks
NodeFeatures = Sequence[Tensor] | Sequence[Sequence[Tensor]]

_ONLY_CHAINS = "probes and inversion run networks of a spec only, got GraphNetworks; build the metanetwork without them"
_ACCEPTED: dict[str, tuple[str, ...]] = {"scale": ("scale",), "sign": ("sign",)}


@dataclass(frozen=True)
class Batch:
    """What a forward pass works on.

    Attributes:
        buckets: What the networks are.
        contents: Their tensors.
        given: Per bucket, which of the ``Networks`` that were given, and which of its rows (``None`` for all).
        kinds: Per bucket, what its networks are.
        specs: What the networks that were given are.
    """

    buckets: tuple[Bucket, ...]
    contents: tuple[Weights, ...]
    given: tuple[tuple[int, Tensor | None], ...]
    kinds: tuple[NetworkSpec | Graph, ...]
    specs: tuple[NetworkSpec | Graph, ...]

    def chains(self) -> list[NetworkSpec]:
        """Specs of the networks that were given.

        Raises:
            ZoovetError: Some of them are no chains.
        """
        return [_require_spec(spec) for spec in self.specs]

    def networks(self) -> list[Networks]:
        """Every bucket's networks.

        Raises:
            ZoovetError: Some of them are no chains.
        """
        made = []
        for kind, content in zip(self.kinds, self.contents, strict=True):
            weights, biases = (
                tuple(tensor for tensor in tensors if tensor is not None)
                for tensors in (content.weights, content.biases)
            )
            made.append(Networks(_require_spec(kind), weights, biases))
        return made

    def with_node_features(self, features: Sequence[Sequence[Tensor]]) -> Batch:
        """The same with further features, per bucket and channel group [B, n, k], behind those that it has."""
        contents = []
        for content, more in zip(self.contents, features, strict=True):
            if content.node_features is not None:
                more = [torch.cat(pair, dim=2) for pair in zip(content.node_features, more, strict=True)]
            contents.append(replace(content, node_features=tuple(more)))
        return replace(self, contents=tuple(contents))

    def with_evidence(self, evidence: Sequence[Evidence], config: InversionConfig, max_classes: int) -> Batch:
        """The same with evidence of the ``Networks`` that were given: features of nodes, and gradients of weights.

        Output nodes have the numbers of their classes behind those of their sites, other nodes zeros there.
        """
        features, contents = [], []
        for bucket, (which, index), kind in zip(self.buckets, self.given, self.kinds, strict=True):
            own = evidence[which] if index is None else evidence[which][index]
            sizes = [group.size for group in bucket.structure.groups]
            features.append(evidence_features(own, sizes, config, max_classes))
            contents.append(evidence_gradients(own, _require_spec(kind), config))
        batch = self.with_node_features(features)
        pairs = zip(batch.contents, contents, strict=True)
        return replace(batch, contents=tuple(replace(content, gradients=found) for content, found in pairs))

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
    networks: AnyNetworks | Sequence[AnyNetworks],
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
    given = listed(networks)
    total = sum(map(len, given))
    if activations is not None and len(activations) != total:
        raise ZoovetError(f"activations must name one for each of the {total} networks, got {len(activations)}")
    single = isinstance(networks, AnyNetworks)
    features = _split_features(node_features, single, given, config.num_node_features)
    buckets, contents, places, kinds = [], [], [], []
    position = 0
    for which, part in enumerate(given):
        part.require_finite("the networks" if len(given) == 1 else f"networks[{which}]")
        own = None if activations is None else activations[position : position + len(part)]
        position += len(part)
        for kind, index in _by_activation(part, own):
            size = len(part) if index is None else len(index)
            buckets.append(_bucket(kind, size, config, behaviour))
            contents.append(_contents(part, features[which], index, dtype))
            places.append((which, index))
            kinds.append(kind)
    specs = tuple(part.spec if isinstance(part, Networks) else part.graph for part in given)
    return Batch(tuple(buckets), tuple(contents), tuple(places), tuple(kinds), specs)


def listed(networks: AnyNetworks | Sequence[AnyNetworks]) -> list[AnyNetworks]:
    """What was given to a metanetwork, as a list.

    Raises:
        ZoovetError: It is something else, or nothing.
    """
    given = [networks] if isinstance(networks, AnyNetworks) else list(networks)
    if not given or not all(isinstance(part, AnyNetworks) for part in given):
        names = ", ".join(type(part).__name__ for part in given) or "nothing"
        raise ZoovetError(f"a metanetwork reads Networks, GraphNetworks, or a list of them, got {names}")
    return given


def require_chains(networks: AnyNetworks | Sequence[AnyNetworks]) -> list[Networks]:
    """What was given, as a list of chains.

    Raises:
        ZoovetError: Some of them are none.
    """
    given = []
    for part in listed(networks):
        if not isinstance(part, Networks):
            raise ZoovetError(_ONLY_CHAINS)
        given.append(part)
    return given


def _contents(
    networks: AnyNetworks, features: Sequence[Tensor] | None, index: Tensor | None, dtype: torch.dtype
) -> Weights:
    def taken(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple((tensor if index is None else tensor[index]).to(dtype) for tensor in tensors)

    own = None if features is None else taken(features)
    if isinstance(networks, GraphNetworks):
        return graph_weights(networks.to(dtype=dtype), own)
    return Weights(taken(networks.weights), (None, *taken(networks.biases)), own)


def _by_activation(
    networks: AnyNetworks, names: Sequence[str] | None
) -> list[tuple[NetworkSpec | Graph, Tensor | None]]:
    """(spec with that activation, rows of it) for each activation; all rows of the networks' own without names."""
    if isinstance(networks, GraphNetworks):
        if names is not None:
            raise ZoovetError("activations can be told only of chains, but GraphNetworks are among the networks")
        return [(networks.graph, None)]
    spec = networks.spec
    if names is None:
        return [(spec, None)]
    for name in names:
        if name not in ACTIVATIONS:
            raise ZoovetError(f"activation {name!r} is unknown; known: {', '.join(ACTIVATIONS)}")
    parts: list[tuple[NetworkSpec | Graph, Tensor | None]] = []
    for name in dict.fromkeys(names):
        rows = [row for row, other in enumerate(names) if other == name]
        parts.append((_with_activation(spec, name), torch.tensor(rows, device=networks.device)))
    return parts


@lru_cache(maxsize=256)
def _with_activation(spec: NetworkSpec, name: str) -> NetworkSpec:
    hidden = (
        layer if layer.activation == name else replace(layer, activation=name, activation_parameter=None)
        for layer in spec.layers[:-1]
    )
    return replace(spec, layers=(*hidden, spec.layers[-1]))


@lru_cache(maxsize=1024)
def _bucket(kind: NetworkSpec | Graph, size: int, config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> Bucket:
    structure = _structure(kind)
    symmetries = tuple(group.symmetry for group in structure.groups)
    if behaviour.symmetry_from_activation and isinstance(kind, NetworkSpec):
        symmetries = group_symmetries(_without_max_pooling(kind))
    roles = [group.role for group in structure.groups]
    hidden = [symmetry for role, symmetry in zip(roles, symmetries, strict=True) if role == "hidden"]
    accepted = _ACCEPTED.get(config.symmetry)
    if config.symmetry == "mixed":
        accepted = (*behaviour.branches, *(("nonzero",) if "permutation" in behaviour.branches else ()))
    for symmetry in hidden:
        if accepted is not None and symmetry not in accepted:
            raise ZoovetError(
                f"a metanetwork with symmetry {config.symmetry!r} reads hidden groups with the symmetry "
                f"{' or '.join(accepted)}, got {symmetry!r} in {structure.description}; use symmetry 'mixed' for "
                f"networks of several kinds"
            )
    if config.symmetry == "permutation":
        symmetries = tuple("permutation" if symmetry != "fixed" else "fixed" for symmetry in symmetries)
    fallback: Symmetry = "scale" if config.symmetry == "mixed" else config.symmetry
    return Bucket(structure, size, symmetries, hidden[0] if hidden and config.symmetry != "permutation" else fallback)


def _require_spec(kind: NetworkSpec | Graph) -> NetworkSpec:
    if isinstance(kind, NetworkSpec):
        return kind
    raise ZoovetError(_ONLY_CHAINS)


def _structure(kind: NetworkSpec | Graph) -> Structure:
    return graph_structure(kind) if isinstance(kind, Graph) else chain_structure(kind)


def _without_max_pooling(spec: NetworkSpec) -> NetworkSpec:
    """The spec with average pooling, which commutes with every scalar, in place of max pooling."""
    layers = (
        replace(layer, pool=replace(layer.pool, kind="average"))
        if layer.pool is not None and layer.pool.kind == "max"
        else layer
        for layer in spec.layers
    )
    return replace(spec, layers=tuple(layers))


def _split_features(
    features: NodeFeatures | None, is_single: bool, given: Sequence[AnyNetworks], width: int
) -> list[Sequence[Tensor] | None]:
    if features is None:
        if width:
            raise ZoovetError(f"the metanetwork needs node_features of width {width} (num_node_features), got none")
        return [None] * len(given)
    parts = cast("list[Sequence[Tensor]]", [features] if is_single else list(features))
    if len(parts) != len(given):
        raise ZoovetError(f"node_features must be one list for each of the {len(given)} networks, got {len(parts)}")
    for part, networks in zip(parts, given, strict=True):
        structure = _structure(networks.spec if isinstance(networks, Networks) else networks.graph)
        shapes = [(len(networks), group.size, width) for group in structure.groups]
        got = [tuple(tensor.shape) for tensor in part]
        if got != shapes:
            raise ZoovetError(f"node_features must have the shapes {shapes}, one for each channel group, got {got}")
    return [tuple(part) for part in parts]
