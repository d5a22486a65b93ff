"""ScaleGMN on random graphs: exact under all that their laws allow, and found out where it would not be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMN, ScaleGMNConfig, batching
from zoovet.metanets.config import ReleasedBehaviour
from zoovet.metanets.graph_structure import _Walk, graph_structure
from zoovet.networks.batch import Networks
from zoovet.networks.chains import small_cnn
from zoovet.networks.graph import INPUT, Graph
from zoovet.networks.graph_builder import GraphBuilder
from zoovet.symmetry import (
    assert_equivariant,
    assert_invariant,
    deviation_equivariant,
    deviation_invariant,
    random_chain,
    random_graph,
    random_networks,
)
from zoovet.symmetry.random_graphs import BLOCKS


def model_of(**options: Any) -> ScaleGMN:
    chosen = {"width": 8, "num_layers": 3, "num_outputs": 2} | options
    return ScaleGMN(ScaleGMNConfig(**chosen), torch.Generator().manual_seed(1))


def graphs_of(seed: int, blocks: tuple[str, ...] = tuple(BLOCKS), count: int = 1) -> list[Networks]:
    generator = torch.Generator().manual_seed(seed)
    graphs = [random_graph(generator, blocks=blocks, num_blocks=2) for _ in range(count)]
    return [random_networks(graph, 2, generator) for graph in graphs]


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("block", BLOCKS)
def test_every_kind_of_block(block: str, direction: str) -> None:
    (networks,) = graphs_of(sum(map(ord, block)), (block,))
    options = {"direction": direction, "edge_embedding": direction == "forward"}
    assert_invariant(model_of(**options), networks, mode="eval", num_actions=1)
    assert_equivariant(model_of(output="weights", **options), networks, mode="eval", num_actions=1)


@pytest.mark.parametrize("output", ["graph", "weights"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_graphs_and_chains_in_one_batch(direction: str, output: str) -> None:
    generator = torch.Generator().manual_seed(7)
    chain = random_networks(random_chain(generator, num_layers=4, max_width=8), 2, generator)
    batches = [*graphs_of(5), chain, *graphs_of(6)]
    check = assert_invariant if output == "graph" else assert_equivariant
    check(model_of(direction=direction, output=output), batches, mode="eval", num_actions=1)


@pytest.mark.parametrize("options", [{"readout": "last_layer"}, {"readout": "pooled_outputs", "mlp_on_io": False}])
def test_readouts_and_options(options: dict[str, Any]) -> None:
    embedded = {"message_embedding": True, "update_embedding": True, "symmetrize": False, "skip_connections": False}
    for networks in graphs_of(8, count=2):
        assert_invariant(model_of(**options, **embedded), networks, mode="eval", num_actions=1)


def residual_graph(activation: str) -> Graph:
    """A stream that one activation reads and writes, so that all hidden groups have its symmetry."""
    builder = GraphBuilder((2, 6, 6))

    def conv(site: str, name: str, width: int, kernel: int) -> str:
        weight = builder.parameter(f"{name}.weight", (width, builder.site(site).shape[0], kernel, kernel))
        roles = {"weight": weight, "bias": builder.parameter(f"{name}.bias", (width,))}
        return builder.add("conv2d", site, name=name, parameters=roles, padding=(kernel // 2,) * 4)

    stream = builder.add(activation, conv(INPUT, "stem", 5, 3))
    for index in range(2):
        inner = builder.add(activation, conv(stream, f"first{index}", 4, 3))
        stream = builder.add(activation, builder.add("add", conv(inner, f"second{index}", 5, 1), stream))
    features = builder.add("mean", stream, dim=(1, 2))
    head = {"weight": builder.parameter("head", (3, 5))}
    return builder.graph(builder.add("linear", features, parameters=head))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize(("symmetry", "activation"), [("scale", "relu"), ("sign", "tanh"), ("permutation", "gelu")])
def test_models_of_one_symmetry(symmetry: str, activation: str, direction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    networks = random_networks(residual_graph(activation), 2, generator)
    options = {"symmetry": symmetry, "direction": direction}
    assert_invariant(model_of(**options), networks, mode="eval", num_actions=1)
    assert_equivariant(model_of(output="weights", **options), networks, mode="eval", num_actions=1)
    if symmetry == "scale":
        with pytest.raises(ZoovetError, match=r"with the symmetry sign, got 'scale' in the graph .*mixed"):
            model_of(symmetry="sign")(networks)


def test_the_permutation_model_is_not_scale_invariant() -> None:
    networks = random_networks(residual_graph("relu"), 2, torch.Generator().manual_seed(0))
    plain = {"symmetry": "permutation"}
    assert deviation_invariant(model_of(**plain), networks, mode="eval").scaling > 1e-6
    assert deviation_equivariant(model_of(output="weights", **plain), networks, mode="eval").scaling > 1e-6
    with pytest.raises(AssertionError, match="scalings"):
        assert_invariant(model_of(**plain), networks, mode="eval")
    assert_invariant(model_of(**plain), networks, mode="eval", symmetry="permutation")


@pytest.fixture
def fresh_structures() -> Iterator[None]:
    """Structures are made anew, and forgotten afterwards."""
    for clear in (graph_structure.cache_clear, batching._bucket.cache_clear):
        clear()
    yield
    for clear in (graph_structure.cache_clear, batching._bucket.cache_clear):
        clear()


def worst_deviation(seeds: Iterable[int], block: str, direction: str = "bidirectional") -> float:
    batches = [networks for seed in seeds for networks in graphs_of(seed, (block,))]
    return deviation_invariant(model_of(direction=direction), batches, mode="eval", num_actions=1).largest


@pytest.mark.usefixtures("fresh_structures")
def test_a_gate_taken_for_the_channel_that_it_multiplies_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Walk, "_kind", lambda *_: "identity")
    assert worst_deviation(range(4), "squeeze") > 1e-6


@pytest.mark.usefixtures("fresh_structures")
def test_channels_joined_in_another_order_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    straight = _Walk._add_pairs

    def turned(self: Any, source: int, target: int, sources: Any, *rest: Any, **options: Any) -> None:
        straight(self, source, target, np.roll(sources, 1), *rest, **options)

    monkeypatch.setattr(_Walk, "_add_pairs", turned)
    assert worst_deviation(range(3), "residual", "forward") > 1e-6


def test_forward_edges_run_backward_are_found_out() -> None:
    released = ScaleGMN(
        ScaleGMNConfig(width=8, num_layers=2),
        torch.Generator().manual_seed(0),
        ReleasedBehaviour(forward_edges_backward=True),
    )
    assert deviation_invariant(released, graphs_of(2, ("residual",)), mode="eval").scaling > 1e-6


def test_what_ties_channels_of_a_stream_together_is_read() -> None:
    """Moving the stream's channels at one of its writers alone is no symmetry, and is seen."""
    networks = random_networks(residual_graph("relu"), 1, torch.Generator().manual_seed(0))
    moved = dict(networks.parameters)
    for name in ("second0.weight", "second0.bias"):
        moved[name] = moved[name].flip(1)
    model = model_of().double()
    before, after = model(networks), model(Networks(networks.graph, moved))
    assert (before - after).abs().max() > 1e-9 * before.abs().max()


def test_names_and_a_bias_that_is_missing_change_nothing() -> None:
    generator = torch.Generator().manual_seed(4)
    networks = random_networks(small_cnn(channels=(3, 4)), 2, generator)
    names = [f"p{number}" for number in range(len(networks.parameters))]
    graph = networks.graph
    old = dict(zip(graph.shapes, names, strict=True))
    renamed = replace(
        graph,
        parameters=tuple(replace(one, name=old[one.name]) for one in graph.parameters),
        operations=tuple(
            replace(one, parameters={role: old[name] for role, name in one.parameters.items()})
            for one in graph.operations
        ),
    )
    other = Networks(renamed, dict(zip(names, networks.parameters.values(), strict=True)))
    model, editor = model_of().double(), model_of(output="weights").double()
    assert torch.equal(model(other), model(networks))
    assert torch.equal(editor(other).flat(), editor(networks).flat())
    first = graph.operations[0]
    bare = replace(
        graph,
        parameters=tuple(one for one in graph.parameters if one.name != first.parameters["bias"]),
        operations=(replace(first, parameters={"weight": first.parameters["weight"]}), *graph.operations[1:]),
    )
    kept = {name: tensor for name, tensor in networks.parameters.items() if name in bare.shapes}
    zeros = Networks(graph, {**networks.parameters, "layers.0.bias": torch.zeros_like(networks.biases[0])})
    torch.testing.assert_close(model(Networks(bare, kept)), model(zeros), rtol=1e-12, atol=0)


def test_changes_are_of_weights_and_not_of_statistics() -> None:
    (networks,) = graphs_of(3, ("pre_activation",))
    changes = model_of(output="weights").double()(networks)
    assert changes.graph == networks.graph
    for operation in networks.graph.operations:
        for role, name in operation.parameters.items():
            largest = float(changes.parameters[name].detach().abs().max())
            assert (largest == 0) == role.startswith("running"), name


def test_gradients_reach_every_weight_that_counts() -> None:
    (networks,) = graphs_of(3, ("residual",))
    given = networks.map(lambda tensor: tensor.detach().requires_grad_())
    made = model_of().double()(given)
    assert isinstance(made, Tensor)
    made.square().sum().backward()
    for name, tensor in given.parameters.items():
        assert tensor.grad is not None, name
        assert bool(tensor.grad.isfinite().all()), name
        assert bool((tensor.grad != 0).any()), name


def test_what_is_of_chains_only_is_said() -> None:
    (networks,) = graphs_of(0)
    with pytest.raises(ZoovetError, match="activations can be told only of chains"):
        model_of()(networks, ["relu", "relu"])
    probing = ScaleGMN(ScaleGMNConfig(width=4, num_layers=1, num_probes=2, input_shape=networks.graph.input_shape))
    with pytest.raises(ZoovetError, match="are of layers one after another only, got the graph"):
        probing(networks)
    with pytest.raises(ZoovetError, match="reads Networks, or a list of them, got str"):
        model_of()(["relu"])


def test_tables_are_no_limit() -> None:
    small = {"max_inputs": 1, "max_depth": 1, "max_outputs": 2, "max_kernel": (2, 2), "edge_embedding": True}
    for networks in graphs_of(11, count=2):
        for readout in ("last_layer", "full_graph"):
            assert_invariant(model_of(readout=readout, **small), networks, mode="eval", num_actions=1)
        assert_equivariant(model_of(output="weights", **small), networks, mode="eval", num_actions=1)
    chain = random_networks(small_cnn("relu", channels=(4, 4)), 2, torch.Generator().manual_seed(0))
    changes = model_of(output="weights", **small)(chain.to(dtype=torch.float32))
    assert isinstance(changes, Networks)
    assert changes.weights[0].shape == chain.weights[0].shape
