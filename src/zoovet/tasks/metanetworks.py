"""The metanetworks that tasks can train, by the name of their kind."""

from __future__ import annotations

from typing import Any

from torch import nn

from zoovet.config import config_to_dict, read_config
from zoovet.errors import ZoovetError, nearest
from zoovet.metanets.scalegmn import ScaleGMN, ScaleGMNConfig
from zoovet.tasks.random_streams import seeded_generator

__all__ = ["MetanetworkConfig", "build_metanetwork", "metanetwork_from_json", "metanetwork_to_json"]

MetanetworkConfig = ScaleGMNConfig
"""Configuration of any metanetwork; a further kind joins it by ``|`` and stands in the table below."""

_KINDS = {"scalegmn": (ScaleGMNConfig, ScaleGMN)}


def build_metanetwork(config: MetanetworkConfig, seed: int, purpose: str) -> nn.Module:
    """A metanetwork whose initial weights depend on the seed and on what it is for (any text), and on nothing else."""
    (module_class,) = (module_class for config_class, module_class in _KINDS.values() if type(config) is config_class)
    return module_class(config, seeded_generator(seed, f"initial weights of the {purpose}"))


def metanetwork_to_json(config: MetanetworkConfig) -> dict[str, Any]:
    """Kind and configuration as JSON values."""
    (kind,) = (kind for kind, (config_class, _) in _KINDS.items() if type(config) is config_class)
    return {"kind": kind, "config": config_to_dict(config)}


def metanetwork_from_json(data: Any, where: str) -> MetanetworkConfig:
    """Read what :func:`metanetwork_to_json` wrote.

    Raises:
        ZoovetError: An unknown kind, or a configuration that this version does not know; the message names ``where``.
    """
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in _KINDS:
        raise ZoovetError(f"{where}: the metanetwork kind {kind!r} is unknown{nearest(str(kind), _KINDS)}")
    return read_config(_KINDS[kind][0], data.get("config", {}), where=where)
