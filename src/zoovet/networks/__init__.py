"""A network as data: what it is (spec or graph), its weights in batches, running it, reading a module."""

from __future__ import annotations

from zoovet.networks.batch import Networks
from zoovet.networks.chains import chain_from_graph, graph_from_chain, graph_from_spec
from zoovet.networks.folding import fold_batch_norms
from zoovet.networks.forward import forward, forward_features, forward_hidden, forward_means
from zoovet.networks.graph import INPUT, Graph, Operation, Parameter
from zoovet.networks.graph_batch import GraphNetworks
from zoovet.networks.graph_builder import GraphBuilder
from zoovet.networks.modules import Sine, from_module, to_module
from zoovet.networks.rescaled import images_as_read, rescaled
from zoovet.networks.run import run, values_at
from zoovet.networks.scaling import SCALING_PRESETS, ZOO_SCALING, InputScaling, scaling_preset
from zoovet.networks.spec import ACTIVATIONS, Block, Group, LayerSpec, NetworkSpec, PoolSpec, mlp, siren, small_cnn

__all__ = [
    "ACTIVATIONS",
    "INPUT",
    "SCALING_PRESETS",
    "ZOO_SCALING",
    "Block",
    "Graph",
    "GraphBuilder",
    "GraphNetworks",
    "Group",
    "InputScaling",
    "LayerSpec",
    "NetworkSpec",
    "Networks",
    "Operation",
    "Parameter",
    "PoolSpec",
    "Sine",
    "chain_from_graph",
    "fold_batch_norms",
    "forward",
    "forward_features",
    "forward_hidden",
    "forward_means",
    "from_module",
    "graph_from_chain",
    "graph_from_spec",
    "images_as_read",
    "mlp",
    "rescaled",
    "run",
    "scaling_preset",
    "siren",
    "small_cnn",
    "to_module",
    "values_at",
]
