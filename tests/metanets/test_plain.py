"""The fused layers compute what their plain forms, written as the paper's equations, do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from zoovet.metanets import ScaleGMN, ScaleGMNConfig
from zoovet.metanets.plain import plain_scalegmn
from zoovet.networks.batch import Networks
from zoovet.symmetry import random_chain, random_graph, random_networks
from zoovet.symmetry.random_graphs import BLOCKS

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"readout": "full_graph"},
    "embedded": {
        "edge_embedding": True,
        "message_embedding": True,
        "update_embedding": True,
        "symmetrize": False,
        "readout": "last_layer",
        "max_inputs": 2,
        "max_depth": 3,
        "max_outputs": 2,
        "max_kernel": (2, 2),
    },
    "factors": {
        "mlp_on_io": False,
        "sum_on_io": False,
        "num_message_mlps": 2,
        "num_update_mlps": 2,
        "layer_norm": False,
        "skip_connections": False,
        "readout": "pooled_outputs",
        "hidden_width": 5,
    },
}


def assert_same(networks: Iterable[Networks], **options: Any) -> None:
    chosen = {"width": 6, "num_layers": 3, "num_outputs": 3, "max_kernel": (9, 9)} | options
    model = ScaleGMN(ScaleGMNConfig(**chosen), torch.Generator().manual_seed(1)).double().eval()
    with torch.no_grad():
        for own in networks:
            plain = plain_scalegmn(model, own)
            if isinstance(plain, Tensor):
                _assert_near(model(own), plain)
                continue
            (fused,) = model.changes(own)
            for ours, theirs in zip(fused, plain, strict=True):
                assert len(ours) == len(theirs)
                for first, second in zip(ours, theirs, strict=True):
                    _assert_near(first, second)


def _assert_near(fused: Tensor, plain: Tensor) -> None:
    assert fused.shape == plain.shape
    assert float((fused - plain).abs().max()) <= 1e-10 * float(plain.abs().max())


def graphs_of(seed: int) -> list[Networks]:
    """One of every kind of block."""
    generator = torch.Generator().manual_seed(seed)
    graphs = [random_graph(generator, blocks=(block,), num_blocks=1) for block in BLOCKS]
    return [random_networks(graph, 2, generator) for graph in graphs]


def chains(count: int, **options: Any) -> list[Networks]:
    generator = torch.Generator().manual_seed(5)
    graphs = [random_chain(generator, num_layers=index % 4 + 1, max_width=6, **options) for index in range(count)]
    return [random_networks(graph, 2, generator) for graph in graphs]


@pytest.mark.parametrize("output", ["graph", "weights"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_graphs_of_every_kind(variant: str, direction: str, output: str) -> None:
    assert_same(graphs_of(len(variant)), direction=direction, output=output, **VARIANTS[variant])


@pytest.mark.parametrize("output", ["graph", "weights"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_chains_of_every_symmetry(direction: str, output: str) -> None:
    options = {"direction": direction, "output": output}
    assert_same(chains(6, mixed=True), **options)
    assert_same(chains(4, activations=("relu", "leaky_relu")), symmetry="scale", **options)
    poolings = (None, "average", "global")
    assert_same(chains(4, activations=("tanh", "sine"), poolings=poolings), symmetry="sign", **options)


@pytest.mark.parametrize("output", ["graph", "weights"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_permutations_alone(direction: str, output: str) -> None:
    for readout in ("full_graph", "last_layer"):
        options = {"symmetry": "permutation", "direction": direction, "output": output, "readout": readout}
        assert_same([*chains(2), *graphs_of(2)[:3]], edge_embedding=readout == "last_layer", **options)


def test_a_layer_that_computes_something_else_is_found_out() -> None:
    (networks,) = chains(1, activations=("relu",))
    model = ScaleGMN(ScaleGMNConfig(width=6, num_layers=2), torch.Generator().manual_seed(1)).double().eval()
    plain = plain_scalegmn(model, networks)
    with torch.no_grad():
        assert isinstance(plain, Tensor)
        model.rounds[0].messages[1].w_v.weight.mul_(1.001)
        assert float((model(networks) - plain).abs().max()) > 1e-7 * float(plain.abs().max())
