"""Metanetworks: models whose input is a network."""

from __future__ import annotations

from zoovet.metanets.config import ScaleGMNConfig
from zoovet.metanets.ensemble import Ensemble
from zoovet.metanets.flat_mlp import FlatMLP, FlatMLPConfig
from zoovet.metanets.layer_units import LayerUnits
from zoovet.metanets.scalegmn import ScaleGMN

__all__ = [
    "Ensemble",
    "FlatMLP",
    "FlatMLPConfig",
    "LayerUnits",
    "ScaleGMN",
    "ScaleGMNConfig",
]
