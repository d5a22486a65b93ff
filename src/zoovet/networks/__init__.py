"""A network as data: what it is (its graph), its weights in batches, running it."""

from __future__ import annotations

from zoovet.networks.batch import Networks
from zoovet.networks.chain import Block, Chain, Group
from zoovet.networks.chains import mlp, siren, small_cnn
from zoovet.networks.folding import fold_batch_norms
from zoovet.networks.graph import Graph
from zoovet.networks.graph_builder import GraphBuilder
from zoovet.networks.layer_spec import ACTIVATIONS, LayerSpec, PoolSpec
from zoovet.networks.layer_values import forward_features, forward_hidden, forward_means
from zoovet.networks.modules import Sine, to_module
from zoovet.networks.operations import INPUT, Operation, Parameter
from zoovet.networks.rescaled import images_as_read, on_kept_images, rescaled
from zoovet.networks.run import run, values_at
from zoovet.networks.scaling import SCALING_PRESETS, ZOO_SCALING, InputScaling, scaling_preset, stated_scaling

__all__ = [
    "ACTIVATIONS",
    "INPUT",
    "SCALING_PRESETS",
    "ZOO_SCALING",
    "Block",
    "Chain",
    "Graph",
    "GraphBuilder",
    "Group",
    "InputScaling",
    "LayerSpec",
    "Networks",
    "Operation",
    "Parameter",
    "PoolSpec",
    "Sine",
    "fold_batch_norms",
    "forward_features",
    "forward_hidden",
    "forward_means",
    "images_as_read",
    "mlp",
    "on_kept_images",
    "rescaled",
    "run",
    "scaling_preset",
    "siren",
    "small_cnn",
    "stated_scaling",
    "to_module",
    "values_at",
]
