from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMN, ScaleGMNConfig
from zoovet.metanets.config import ReleasedBehaviour
from zoovet.networks.batch import Networks
from zoovet.networks.chains import mlp, small_cnn
from zoovet.networks.graph import INPUT, Graph
from zoovet.symmetry import (
    assert_equivariant,
    assert_invariant,
    deviation_invariant,
    graph_symmetry,
    random_action,
    random_chain,
    random_networks,
)
from zoovet.symmetry.ties import NEGATION

ACTIVATIONS = {
    "mixed": ("relu", "leaky_relu", "tanh", "sine", "sigmoid", "gelu", "identity"),
    "scale": ("relu", "leaky_relu"),
    "sign": ("tanh", "sine"),
    "permutation": ("relu", "tanh", "silu"),
}
POOLINGS = {"sign": (None, "average", "global")}
VARIANTS = {
    "plain": {},
    "embeddings": {"edge_embedding": True, "message_embedding": True, "update_embedding": True, "symmetrize": False},
    "factors": {"mlp_on_io": False, "sum_on_io": False, "num_message_mlps": 2, "num_update_mlps": 2},
    "bare": {"layer_norm": False, "skip_connections": False, "readout": "last_layer"},
}
OUTPUTS = [
    pytest.param(symmetry, direction, output, id=f"{symmetry}-{direction}-{output}")
    for symmetry in ACTIVATIONS
    for direction in ("forward", "bidirectional")
    for output in ("graph", "weights")
]


def model_of(**options: Any) -> ScaleGMN:
    chosen = {"width": 8, "num_layers": 3, "num_outputs": 2, "max_kernel": (12, 12)} | options
    return ScaleGMN(ScaleGMNConfig(**chosen), torch.Generator().manual_seed(1))


def graphs_of(symmetry: str, num_graphs: int, seed: int, **options: Any) -> list[Graph]:
    generator = torch.Generator().manual_seed(seed)
    return [
        random_chain(
            generator,
            activations=ACTIVATIONS[symmetry],
            poolings=POOLINGS.get(symmetry, (None, "average", "max", "global")),
            mixed=symmetry == "mixed" and index % 2 == 0,
            num_layers=index % 6 + 1,
            **options,
        )
        for index in range(num_graphs)
    ]


def batches_of(graphs: list[Graph], seed: int = 0, **options: Any) -> list[Networks]:
    generator = torch.Generator().manual_seed(seed)
    return [random_networks(graph, 2, generator, **options) for graph in graphs]


@pytest.mark.parametrize(("symmetry", "direction", "output"), OUTPUTS)
def test_random_specs_in_one_batch(symmetry: str, direction: str, output: str) -> None:
    model = model_of(symmetry=symmetry, direction=direction, output=output)
    batches = batches_of(graphs_of(symmetry, 6, seed=2))
    check = assert_invariant if output == "graph" else assert_equivariant
    declared = "permutation" if symmetry == "permutation" else "groups"
    check(model, batches, symmetry=declared, mode="eval", num_actions=1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("symmetry", ACTIVATIONS)
def test_every_option(symmetry: str, variant: str) -> None:
    graphs = graphs_of(symmetry, 4, seed=3, max_width=12)
    declared: Any = "permutation" if symmetry == "permutation" else "groups"
    options = {"symmetry": symmetry, "mlp_dropout": 0.1, "dropout": 0.1} | VARIANTS[variant]
    assert_invariant(model_of(**options), batches_of(graphs), symmetry=declared, num_actions=1)
    assert_equivariant(model_of(output="weights", **options), batches_of(graphs), symmetry=declared, num_actions=1)


@pytest.mark.parametrize("output", ["graph", "weights"])
def test_wide_networks_with_large_kernels(output: str) -> None:
    generator = torch.Generator().manual_seed(4)
    graph = random_chain(generator, kind="cnn", num_layers=3, kernels=(7,), activations=("relu",), max_width=40)
    networks = random_networks(graph, 2, generator)
    check = assert_invariant if output == "graph" else assert_equivariant
    check(model_of(output=output), networks, mode="eval", num_actions=1)


def test_tanh_before_max_pooling_is_treated_by_permutations_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    graph = random_chain(generator, kind="cnn", num_layers=4, activations=("tanh",), poolings=("max",), max_width=6)
    own = graph_symmetry(graph)
    assert "permutation" in {own.site_symmetry(site) for site in graph.chain.sites}
    networks = random_networks(graph, 3, generator)
    assert_invariant(model_of(), networks, mode="eval")
    signs = random_action(own.with_scalars(NEGATION), 3, generator, permute=False)
    model = model_of().double()
    before, after = model(networks), model(signs(networks))
    assert (before - after).abs().max() > 1e-6 * before.abs().max()  # not a symmetry, and not treated as one
    with pytest.raises(ZoovetError, match="use symmetry 'mixed'"):
        model_of(symmetry="sign")(networks)


def test_the_checks_would_find_the_released_behaviour() -> None:
    """Forward features run backwards are not scale equivariant: the released code's own deviation."""
    config = ScaleGMNConfig(width=8, num_layers=2)
    released = ScaleGMN(config, torch.Generator().manual_seed(0), ReleasedBehaviour(forward_edges_backward=True))
    networks = random_networks(small_cnn("relu", channels=(4, 4)), 2, torch.Generator().manual_seed(0))
    assert deviation_invariant(released, networks, mode="eval").scaling > 1e-6
    assert deviation_invariant(ScaleGMN(config), networks, mode="eval").scaling < 1e-12


@pytest.mark.parametrize("symmetry", ["mixed", "permutation"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_float32_deviates_by_its_rounding(symmetry: str, direction: str) -> None:
    model = model_of(symmetry=symmetry, direction=direction)
    batches = batches_of(graphs_of(symmetry, 6, seed=5, max_width=16))
    generator = torch.Generator().manual_seed(0)
    moved = []
    for networks in batches:
        moved.append(random_action(networks.graph, 2, generator, rescale=symmetry != "permutation")(networks))
    before, after = (model([part.to(dtype=torch.float32) for part in parts]) for parts in (batches, moved))
    assert before.dtype == torch.float32
    assert (before - after).abs().max() <= 1e-4 * before.abs().max()


@pytest.mark.parametrize("output", ["graph", "weights"])
@pytest.mark.parametrize("symmetry", ACTIVATIONS)
def test_a_mixed_batch_gives_what_each_network_gives_alone(symmetry: str, output: str) -> None:
    model = model_of(symmetry=symmetry, output=output, edge_embedding=True).double()
    batches = batches_of(graphs_of(symmetry, 7, seed=6, max_width=20))
    together = model(batches)
    for index, networks in enumerate(batches):
        for row in range(len(networks)):
            alone = model(networks[row])
            if isinstance(alone, Tensor):
                mixed = together[2 * index + row : 2 * index + row + 1]
            else:
                alone, mixed = alone.flat(), together[index][row].flat()
            torch.testing.assert_close(mixed, alone, rtol=1e-10, atol=1e-12)


def test_activations_given_with_the_networks_replace_their_specs() -> None:
    networks = random_networks(small_cnn("relu", channels=(3, 4)), 5, torch.Generator().manual_seed(0))
    names = ["tanh", "relu", "relu", "tanh", "gelu"]
    for output in ("graph", "weights"):
        model = model_of(output=output).double()
        together = model(networks, names)
        for row, name in enumerate(names):
            graph = small_cnn(name, channels=(3, 4))
            alone = model(Networks.from_layers(graph, networks[row].weights, networks[row].biases))
            both = (together[row : row + 1], alone) if output == "graph" else (together[row].flat(), alone.flat())
            torch.testing.assert_close(*both, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("symmetry", ACTIVATIONS)
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e-15, 1e-19, 0.0])
def test_gradients_are_finite_where_weights_vanish(symmetry: str, scale: float) -> None:
    graphs = graphs_of(symmetry, 6, seed=7, max_width=10)
    batches = [
        networks.map(lambda tensor: (scale * tensor).requires_grad_())
        for networks in batches_of(graphs, dtype=torch.float32, zero_fraction=0.3)
    ]
    for output in ("graph", "weights"):
        model = model_of(symmetry=symmetry, output=output, layer_norm=symmetry != "scale")
        made = model(batches)
        total = made.square().sum() if isinstance(made, Tensor) else sum(part.flat().square().sum() for part in made)
        total.backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        gradients += [tensor.grad for networks in batches for tensor in networks.parameters.values()]
        assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


def test_gradients_to_the_weights_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    networks = random_networks(mlp((2, 3, 3, 2), "relu"), 2, generator, zero_fraction=0.0)
    graph, flat = networks.graph, networks.flat().requires_grad_()
    model = model_of(num_layers=2).double()
    assert torch.autograd.gradcheck(lambda weights: model(Networks.from_flat(graph, weights)), flat, atol=1e-6)


def test_extra_node_features_reach_the_output_and_keep_the_symmetry() -> None:
    networks = random_networks(small_cnn("relu", channels=(3, 4)), 2, torch.Generator().manual_seed(0))
    model = model_of(num_node_features=2).double()
    features = [torch.randn(2, group.size, 2, dtype=torch.float64) for group in networks.graph.chain.groups]
    action = random_action(networks.graph, 2, torch.Generator().manual_seed(1))
    moved = []
    for tensor, site in zip(features, (INPUT, *networks.graph.chain.sites), strict=True):
        slots = action.symmetry.site_slots(site)
        places = (action.slots[:, slots] - int(slots[0]))[:, :, None].expand(-1, -1, 2)
        moved.append(tensor.gather(1, places) * action.scalars[:, action.symmetry.scale_class[slots], None])
    before, after = model(networks, node_features=features), model(action(networks), node_features=moved)
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-12)
    other = model(networks, node_features=[2 * tensor for tensor in features])
    assert (other - before).abs().max() > 1e-4
    with pytest.raises(ZoovetError, match=r"node_features must have the shapes \[\(2, 1, 2\)"):
        model(networks, node_features=features[1:])
    with pytest.raises(ZoovetError, match="needs node_features of width 2"):
        model(networks)


def test_the_number_of_edge_rows_worked_on_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = batches_of(graphs_of("mixed", 6, seed=8, max_width=10))
    model: nn.Module = model_of(edge_embedding=True, message_embedding=True).double()
    whole = model(batches)
    monkeypatch.setattr("zoovet.metanets.scalegmn.MAX_ROWS", 7)
    torch.testing.assert_close(model(batches), whole, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("symmetry", ["mixed", "permutation"])
def test_autocast_deviates_by_its_rounding_and_trains(symmetry: str) -> None:
    batches = [
        random_networks(small_cnn(activation, channels=(4, 4)), 2, torch.Generator().manual_seed(0))
        for activation in ("relu", "tanh")
    ]
    model = model_of(symmetry=symmetry, message_embedding=True).double()
    exact = model(batches)
    model = model.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(batches)
    assert (rounded - exact).abs().max() <= 0.2 * exact.abs().max()
    rounded.float().square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
