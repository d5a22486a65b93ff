"""Metanetworks: models whose input is a network."""

from __future__ import annotations

from zoovet.metanets.config import ScaleGMNConfig
from zoovet.metanets.ensemble import Ensemble, inversion_of
from zoovet.metanets.flat_mlp import FlatMLP, FlatMLPConfig
from zoovet.metanets.inversion import InversionConfig
from zoovet.metanets.layer_units import LayerUnits
from zoovet.metanets.scalegmn import ScaleGMN

__all__ = [
    "Ensemble",
    "FlatMLP",
    "FlatMLPConfig",
    "InversionConfig",
    "LayerUnits",
    "ScaleGMN",
    "ScaleGMNConfig",
    "inversion_of",
]
