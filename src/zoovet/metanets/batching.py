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
from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig, require_chain
from zoovet.metanets.contents import Weights
from zoovet.metanets.evidence_numbers import evidence_features, evidence_gradients
from zoovet.metanets.graph_numbers import graph_weights
from zoovet.metanets.graph_structure import graph_structure
from zoovet.metanets.layout import Bucket
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import ACTIVATIONS
from zoovet.symmetry import Symmetry

__all__ = ["Batch", "NodeFeatures", "listed", "read_batch"]

NodeFeatures = Sequence[Tensor] | Sequence[Sequence[Tensor]]

_ACCEPTED: dict[str, tuple[str, ...]] = {"scale": ("scale",), "sign": ("sign",)}


@dataclass(frozen=True)
class Batch:
    """What a forward pass works on.

    Attributes:
        buckets: What the networks are.
        contents: Their tensors.
        given: Per bucket, which of the ``Networks`` that were given, and which of its rows (``None`` for all).
        kinds: Per bucket, what its networks are.
        graphs: What the networks that were given are.
    """

    buckets: tuple[Bucket, ...]
    contents: tuple[Weights, ...]
    given: tuple[tuple[int, Tensor | None], ...]
    kinds: tuple[Graph, ...]
    graphs: tuple[Graph, ...]

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
            made.append(Networks.from_layers(require_chain(kind), weights, biases))
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

        Raises:
            ZoovetError: Evidence of parameters is read, and some of the networks are no chains.
        """
        features, contents = [], []
        for (which, index), kind in zip(self.given, self.kinds, strict=True):
            own = evidence[which] if index is None else evidence[which][index]
            if config.gradients:
                require_chain(kind)
            features.append(evidence_features(own, graph_structure(kind), config, max_classes))
            contents.append(evidence_gradients(own, kind, config))
        batch = self.with_node_features(features)
        pairs = zip(batch.contents, contents, strict=True)
        return replace(batch, contents=tuple(replace(content, gradients=found) for content, found in pairs))

    def in_order(self, rows: Tensor) -> Tensor:
        """Rows [networks, k], bucket by bucket, in the order in which the networks were given."""
        if all(index is None for _, index in self.given):
            return rows
        offsets, position = {}, 0
        for which in range(len(self.graphs)):
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
        for which in range(len(self.graphs)):
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
    given = listed(networks)
    total = sum(map(len, given))
    if activations is not None and len(activations) != total:
        raise ZoovetError(f"activations must name one for each of the {total} networks, got {len(activations)}")
    single = isinstance(networks, Networks)
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
    graphs = tuple(part.graph for part in given)
    return Batch(tuple(buckets), tuple(contents), tuple(places), tuple(kinds), graphs)


def listed(networks: Networks | Sequence[Networks]) -> list[Networks]:
    """What was given to a metanetwork, as a list.

    Raises:
        ZoovetError: It is something else, or nothing.
    """
    given = [networks] if isinstance(networks, Networks) else list(networks)
    if not given or not all(isinstance(part, Networks) for part in given):
        names = ", ".join(type(part).__name__ for part in given) or "nothing"
        raise ZoovetError(f"a metanetwork reads Networks, or a list of them, got {names}")
    return given


def _contents(
    networks: Networks, features: Sequence[Tensor] | None, index: Tensor | None, dtype: torch.dtype
) -> Weights:
    def taken(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple((tensor if index is None else tensor[index]).to(dtype) for tensor in tensors)

    own = None if features is None else taken(features)
    some = networks if index is None else networks[index]
    return graph_weights(some if some.dtype == dtype else some.to(dtype=dtype), own)


def _by_activation(networks: Networks, names: Sequence[str] | None) -> list[tuple[Graph, Tensor | None]]:
    """(graph with that activation, rows of it) for each activation; all rows of the networks' own without names."""
    if names is None:
        return [(networks.graph, None)]
    if not networks.graph.is_chain:
        raise ZoovetError(f"activations can be told only of chains, got {networks.graph.in_words()}")
    for name in names:
        if name not in ACTIVATIONS:
            raise ZoovetError(f"activation {name!r} is unknown; known: {', '.join(ACTIVATIONS)}")
    parts: list[tuple[Graph, Tensor | None]] = []
    for name in dict.fromkeys(names):
        rows = [row for row, other in enumerate(names) if other == name]
        parts.append((_with_activation(networks.graph, name), torch.tensor(rows, device=networks.device)))
    return parts


@lru_cache(maxsize=256)
def _with_activation(graph: Graph, name: str) -> Graph:
    layers = graph.chain.layers
    hidden = (
        layer if layer.activation == name else replace(layer, activation=name, activation_parameter=None)
        for layer in layers[:-1]
    )
    return graph.with_layers((*hidden, layers[-1]))


@lru_cache(maxsize=1024)
def _bucket(kind: Graph, size: int, config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> Bucket:
    structure = graph_structure(kind)
    from_activation = behaviour.symmetry_from_activation and kind.is_chain
    allowing = graph_structure(_without_max_pooling(kind)) if from_activation else structure
    symmetries = tuple(group.symmetry for group in allowing.groups)
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


def _without_max_pooling(graph: Graph) -> Graph:
    """The chain with average pooling, which commutes with every scalar, in place of max pooling."""
    layers = (
        replace(layer, pool=replace(layer.pool, kind="average"))
        if layer.pool is not None and layer.pool.kind == "max"
        else layer
        for layer in graph.chain.layers
    )
    return graph.with_layers(tuple(layers))


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
        structure = graph_structure(networks.graph)
        shapes = [(len(networks), group.size, width) for group in structure.groups]
        got = [tuple(tensor.shape) for tensor in part]
        if got != shapes:
            raise ZoovetError(f"node_features must have the shapes {shapes}, one for each channel group, got {got}")
    return [tuple(part) for part in parts]
