"""The metanetworks that tasks can train, by the name of their kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from zoovet.config import config_to_dict, read_config
from zoovet.errors import ZoovetError, nearest
from zoovet.evidence import Inversion
from zoovet.metanets.ensemble import Ensemble
from zoovet.metanets.flat_mlp import FlatMLP, FlatMLPConfig
from zoovet.metanets.layer_units import LayerUnits
from zoovet.metanets.scalegmn import ScaleGMN, ScaleGMNConfig
from zoovet.networks import Graph
from zoovet.printable import printable
from zoovet.tasks.evidence_reader import EvidenceReader
from zoovet.tasks.random_streams import seeded_generator

__all__ = ["MetanetworkConfig", "build_in_units", "build_metanetwork", "metanetwork_from_json", "metanetwork_to_json"]

MetanetworkConfig = ScaleGMNConfig | FlatMLPConfig
"""Configuration of any metanetwork, told apart by ``kind``; a further one joins it and stands in the table below."""

_MODULES: dict[type, Callable[[Any, torch.Generator], nn.Module]] = {ScaleGMNConfig: ScaleGMN, FlatMLPConfig: FlatMLP}
_KINDS: dict[str, type[MetanetworkConfig]] = {
    config_class.kind: config_class for config_class in (ScaleGMNConfig, FlatMLPConfig)
}


def build_metanetwork(config: MetanetworkConfig, seed: int, purpose: str, *, num_members: int = 1) -> nn.Module:
    """A metanetwork whose initial weights depend on the seed and on what it is for (any text), and on nothing else.

    Several members make an :class:`~zoovet.metanets.Ensemble`, whose first is what one alone would be. One that reads
    evidence comes with what finds it out, as an :class:`~zoovet.tasks.evidence_reader.EvidenceReader`.
    """
    purposes = [purpose, *(f"{purpose}'s member {index}" for index in range(1, num_members))]
    generators = [seeded_generator(seed, f"initial weights of the {purpose}") for purpose in purposes]
    members = [_MODULES[type(config)](config, generator) for generator in generators]
    metanetwork = Ensemble(members) if num_members > 1 else members[0]
    if not isinstance(config, ScaleGMNConfig) or config.inversion is None:
        return metanetwork
    assert config.input_shape is not None  # the metanetwork asked for it
    return EvidenceReader(metanetwork, Inversion(config.inversion, config.input_shape, config.max_outputs))


def build_in_units(
    config: MetanetworkConfig, graphs: Sequence[Graph], layer_units: bool, seed: int, purpose: str
) -> nn.Module:
    """The same for networks of these graphs, where that is wanted behind :class:`~zoovet.metanets.LayerUnits`.

    Raises:
        ZoovetError: A metanetwork that runs the networks it reads: in other units they compute something else.
    """
    if layer_units and isinstance(config, ScaleGMNConfig) and (config.num_probes or config.inversion):
        raise ZoovetError(
            "layer_units changes the networks that a metanetwork reads, so that probes and inversion, which run them, "
            "would see other networks; leave out layer_units, or num_probes and inversion"
        )
    metanetwork = build_metanetwork(config, seed, purpose)
    return LayerUnits(metanetwork, max(len(graph.chain.layers) for graph in graphs)) if layer_units else metanetwork


def metanetwork_to_json(config: MetanetworkConfig) -> dict[str, Any]:
    """Kind and configuration as JSON values."""
    return {"kind": config.kind, "config": config_to_dict(config)}


def metanetwork_from_json(data: Any, where: str) -> MetanetworkConfig:
    """Read what :func:`metanetwork_to_json` wrote.

    Raises:
        ZoovetError: An unknown kind, or a configuration that this version does not know; the message names ``where``.
    """
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        shown = printable(repr(kind))
        raise ZoovetError(f"{where}: the metanetwork kind {shown} is unknown{nearest(str(kind), _KINDS)}")
    return read_config(_KINDS[kind], data.get("config", {}), where=where)
