"""A network as data: what it is (spec), its weights in batches, running it, reading a module."""

from __future__ import annotations

from zoovet.networks.batch import Networks
from zoovet.networks.forward import forward, forward_features, forward_hidden, forward_means
from zoovet.networks.modules import Sine, from_module, to_module
from zoovet.networks.scaling import SCALING_PRESETS, InputScaling, scaling_preset
from zoovet.networks.spec import ACTIVATIONS, Block, Group, LayerSpec, NetworkSpec, PoolSpec, mlp, siren, small_cnn

__all__ = [
    "ACTIVATIONS",
    "SCALING_PRESETS",
    "Block",
    "Group",
    "InputScaling",
    "LayerSpec",
    "NetworkSpec",
    "Networks",
    "PoolSpec",
    "Sine",
    "forward",
    "forward_features",
    "forward_hidden",
    "forward_means",
    "from_module",
    "mlp",
    "scaling_preset",
    "siren",
    "small_cnn",
    "to_module",
]
