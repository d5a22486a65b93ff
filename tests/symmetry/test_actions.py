"""Actions keep the function, form a group, and nothing larger keeps the function."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.chains import mlp, small_cnn
from zoovet.networks.graph import INPUT, Graph
from zoovet.networks.layer_spec import ACTIVATIONS, LayerSpec, PoolSpec
from zoovet.networks.run import run
from zoovet.symmetry import Action, graph_symmetry, random_action, random_chain, random_networks
from zoovet.symmetry.ties import NEGATION, POSITIVE

POOLINGS = (None, "average", "max", "global")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def of_layer(action: Action, layer: int) -> tuple[Tensor, Tensor]:
    """[B, out] of what a layer of a chain makes: which channel takes the place of each, and its scalar."""
    slots = action.symmetry.site_slots(f"layers.{layer}")
    return action.slots[:, slots] - int(slots[0]), action.scalars[:, action.symmetry.scale_class[slots]]


def slow_logits(networks: Networks, images: Tensor) -> Tensor:
    """One network after another, layer after layer: independent of ``zoovet.networks.run``."""
    return torch.stack([_slow_logits_of_one(networks[index], images) for index in range(len(networks))])


def _slow_activation(layer: LayerSpec, values: Tensor) -> Tensor:
    activations: dict[str, Callable[[Tensor], Tensor]] = {
        "identity": lambda x: x,
        "relu": torch.relu,
        "leaky_relu": lambda x: functional.leaky_relu(x, layer.activation_parameter),
        "tanh": torch.tanh,
        "sine": lambda x: torch.sin(layer.activation_parameter * x),
        "sigmoid": torch.sigmoid,
        "gelu": functional.gelu,
        "silu": functional.silu,
    }
    return activations[layer.activation](values)


def _slow_logits_of_one(network: Networks, values: Tensor) -> Tensor:
    for layer, weight, bias in zip(network.graph.chain.layers, network.weights, network.biases, strict=True):
        if layer.kind == "conv":
            values = functional.conv2d(values, weight[0], bias[0], layer.stride, layer.padding, layer.dilation)
        else:
            values = functional.linear(values.flatten(1), weight[0].flatten(1), bias[0])
        values = _slow_activation(layer, values)
        if layer.pool and layer.pool.kind == "global":
            values = values.mean((2, 3))
        elif layer.pool:
            pool = functional.max_pool2d if layer.pool.kind == "max" else functional.avg_pool2d
            values = pool(values, layer.pool.kernel, layer.pool.stride, layer.pool.padding)
    return values


def images_for(graph: Graph, generator: torch.Generator, num_images: int = 3) -> Tensor:
    return torch.randn(num_images, *graph.input_shape, generator=generator, dtype=torch.float64)


def deviation(networks: Networks, moved: Networks, images: Tensor) -> float:
    before, after = slow_logits(networks, images), slow_logits(moved, images)
    assert float(before.abs().max()) > 0
    return float((after - before).abs().max() / before.abs().max())


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_acting_keeps_the_function(activation: str, pooling: str | None) -> None:
    generator = seeded(ACTIVATIONS.index(activation) * 4 + POOLINGS.index(pooling))
    for num_layers in (2, 3, 6):
        graph = random_chain(
            generator, kind="cnn", num_layers=num_layers, activations=(activation,), poolings=(pooling,), max_width=12
        )
        networks = random_networks(graph, 3, generator, zero_fraction=0.05)
        action = random_action(graph, 3, generator)
        assert deviation(networks, action(networks), images_for(graph, generator)) <= 1e-10


@pytest.mark.parametrize("seed", range(20))
def test_acting_keeps_the_function_of_random_specs(seed: int) -> None:
    generator = seeded(seed)
    graph = random_chain(generator, activations=ACTIVATIONS, mixed=True)
    networks = random_networks(graph, 2, generator)
    moved = random_action(graph, 2, generator)(networks)
    images = images_for(graph, generator)
    assert deviation(networks, moved, images) <= 1e-10
    before, after = run(networks, images), run(moved, images)
    assert float((after - before).abs().max()) <= 1e-10 * float(before.abs().max())


def test_every_network_of_a_batch_is_moved_differently() -> None:
    graph = mlp((3, 8, 8, 2))
    action = random_action(graph, 4, seeded())
    for first, second in itertools.combinations(range(4), 2):
        for tensor in of_layer(action, 0):
            assert not torch.equal(tensor[first], tensor[second])


def one_hidden_cnn(activation: str, pooling: str | None) -> Graph:
    pool = {
        None: None,
        "max": PoolSpec(kind="max", kernel=(2, 2), stride=(2, 2)),
        "average": PoolSpec(kind="average", kernel=(2, 2), stride=(2, 2)),
    }[pooling]
    layers = (
        LayerSpec(kind="conv", in_channels=1, out_channels=6, kernel=(3, 3), activation=activation, pool=pool),
        LayerSpec(kind="conv", in_channels=6, out_channels=3, kernel=(3, 3), pool=PoolSpec(kind="global")),
    )
    return Graph.of_layers(input_shape=(1, 8, 8), layers=layers)


@pytest.mark.parametrize(
    ("activation", "pooling", "too_much"),
    [
        ("tanh", "max", "sign"),
        ("sine", "max", "sign"),
        ("identity", "max", "sign"),
        ("relu", None, "sign"),
        ("leaky_relu", "average", "sign"),
        ("tanh", None, "scale"),
        ("sine", None, "scale"),
        ("sigmoid", None, "scale"),
        ("sigmoid", None, "sign"),
        ("gelu", None, "sign"),
        ("gelu", None, "scale"),
        ("silu", None, "sign"),
        ("silu", None, "scale"),
    ],
)
def test_a_larger_group_would_change_the_function(activation: str, pooling: str | None, too_much: str) -> None:
    graph = one_hidden_cnn(activation, pooling)
    networks = random_networks(graph, 2, seeded(1), zero_fraction=0.0)
    images = images_for(graph, seeded(2))
    declared = random_action(graph, 2, seeded(3))
    assert deviation(networks, declared(networks), images) <= 1e-10
    larger = graph_symmetry(graph).with_scalars({"sign": NEGATION, "scale": POSITIVE}[too_much])
    action = random_action(larger, 2, seeded(3))
    assert deviation(networks, action(networks), images) > 1e-2


def test_input_and_output_stay() -> None:
    graph = small_cnn("identity")
    action = random_action(graph, 2, seeded())
    for site in (INPUT, graph.output):
        slots = action.symmetry.site_slots(site)
        assert torch.equal(action.slots[:, slots], torch.from_numpy(slots).repeat(2, 1))
        assert bool((action.scalars[:, action.symmetry.scale_class[slots]] == 1).all())


def test_scalars_have_the_declared_values_and_range() -> None:
    drawn = {
        name: of_layer(random_action(mlp((1, 2000, 1), name), 2, seeded()), 0)[1]
        for name in ("relu", "tanh", "gelu", "identity")
    }
    assert bool((drawn["relu"] > 0).all())
    assert 2.95 < float(drawn["relu"].log().max()) <= 3.0
    assert -3.0 <= float(drawn["relu"].log().min()) < -2.95
    assert abs(float(drawn["relu"].log().mean())) < 0.1
    assert set(drawn["tanh"].unique().tolist()) == {-1.0, 1.0}
    assert set(drawn["gelu"].unique().tolist()) == {1.0}
    assert 0.45 < float((drawn["identity"] < 0).double().mean()) < 0.55
    assert 2.95 < float(drawn["identity"].abs().log().max()) <= 3.0
    narrow = of_layer(random_action(mlp((1, 2000, 1)), 2, seeded(), max_log_scale=0.5), 0)[1]
    assert 0.49 < float(narrow.log().abs().max()) <= 0.5


def test_permutations_and_scalars_can_be_left_out() -> None:
    graph = mlp((3, 9, 9, 2))
    networks = random_networks(graph, 2, seeded(), zero_fraction=0.0)
    action = random_action(graph, 2, seeded(1))
    still = random_action(graph, 2, seeded(1), permute=False, rescale=False)
    for first, second in zip((*still(networks).weights,), networks.weights, strict=True):
        assert torch.equal(first, second)
    permuted = random_action(graph, 2, seeded(1), rescale=False)
    assert torch.equal(permuted(networks).weights[0].sort(dim=1).values, networks.weights[0].sort(dim=1).values)
    only_permuted, only_scaled = action.without_scalars(), action.without_permutations()
    assert_same(only_scaled @ only_permuted, action)


def assert_same(first: Action, second: Action) -> None:
    assert torch.equal(first.slots, second.slots)
    torch.testing.assert_close(first.scalars, second.scalars, rtol=1e-14, atol=0)


@pytest.mark.parametrize("seed", range(6))
def test_actions_form_a_group(seed: int) -> None:
    generator = seeded(seed)
    graph = random_chain(generator, activations=("relu", "tanh", "identity", "gelu"), mixed=True)
    first, second, third = (random_action(graph, 3, generator) for _ in range(3))
    identity = Action.identity(graph, 3)
    assert_same(first @ identity, first)
    assert_same(identity @ first, first)
    assert_same(first @ first.inverse(), identity)
    assert_same(first.inverse() @ first, identity)
    assert_same((first @ second) @ third, first @ (second @ third))
    assert_same((first @ second).inverse(), second.inverse() @ first.inverse())
    networks = random_networks(graph, 3, generator)
    for one, other in (
        ((first @ second)(networks), first(second(networks))),
        (first.inverse()(first(networks)), networks),
        (identity(networks), networks),
    ):
        torch.testing.assert_close(one.flat(), other.flat(), rtol=1e-13, atol=0)


def test_acting_is_what_the_formula_says() -> None:
    graph = mlp((2, 3, 4, 2))
    networks = random_networks(graph, 2, seeded())
    action = random_action(graph, 2, seeded(1))
    moved = action(networks)
    for number in range(2):
        matrices = [torch.eye(2, dtype=torch.float64)]
        for layer in range(3):
            permutation, scalars = (tensor[number] for tensor in of_layer(action, layer))
            matrices.append(torch.diag(scalars) @ torch.eye(len(permutation), dtype=torch.float64)[permutation])
        for layer in range(3):
            weight, bias = networks.weights[layer][number], networks.biases[layer][number]
            expected = matrices[layer + 1] @ weight @ torch.linalg.inv(matrices[layer])
            torch.testing.assert_close(moved.weights[layer][number], expected, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(moved.biases[layer][number], matrices[layer + 1] @ bias, rtol=1e-12, atol=0)


def test_acting_is_linear_and_moves_changes_like_weights() -> None:
    graph = random_chain(seeded(3), kind="cnn", num_layers=4)
    networks, change = (random_networks(graph, 2, seeded(seed)) for seed in (0, 1))
    action = random_action(graph, 2, seeded(2))
    together = action(networks + change).flat()
    torch.testing.assert_close((action(networks) + action(change)).flat(), together, rtol=1e-12, atol=1e-14)


def test_acting_keeps_precision_and_gradients() -> None:
    graph = mlp((2, 5, 1))
    networks = random_networks(graph, 2, seeded(), dtype=torch.float32).map(lambda tensor: tensor.requires_grad_())
    moved = random_action(graph, 2, seeded())(networks)
    assert moved.dtype == torch.float32
    gradient = torch.autograd.grad(moved.flat().sum(), networks.weights[0])[0]
    assert bool((gradient != 0).all())


def test_draws_depend_on_the_generator_alone() -> None:
    graph = small_cnn()
    assert_same(random_action(graph, 3, seeded(5)), random_action(graph, 3, seeded(5)))


def test_misfits_are_named() -> None:
    graph, other = mlp((2, 3, 1)), mlp((2, 4, 1))
    action = random_action(graph, 2, seeded())
    with pytest.raises(ZoovetError, match=r"on 2 networks of 2 → linear 3 relu → linear 1, got 2 of 2 → linear 4"):
        action(random_networks(other, 2, seeded()))
    with pytest.raises(ZoovetError, match=r"on 2 networks .* got 3 of"):
        action(random_networks(graph, 3, seeded()))
    with pytest.raises(ZoovetError, match="only actions on the same networks compose"):
        action @ random_action(other, 2, seeded())
    with pytest.raises(ZoovetError, match="max_log_scale must not be negative, got -1"):
        random_action(graph, 2, seeded(), max_log_scale=-1.0)


def test_what_is_no_group_element_is_refused() -> None:
    action = Action.identity(mlp((2, 3, 1)), 2)
    twice = action.slots.clone()
    twice[0, 3] = twice[0, 2]
    with pytest.raises(ZoovetError, match="every row of slots must be a permutation in int64"):
        Action(action.symmetry, twice, action.scalars)
    for bad in (0.0, float("inf"), float("nan")):
        with pytest.raises(ZoovetError, match="scalars must be finite and not 0"):
            Action(action.symmetry, action.slots, torch.full_like(action.scalars, bad))
    with pytest.raises(ZoovetError, match=r"scalars must have the shape \(2, \d+\), got"):
        Action(action.symmetry, action.slots, action.scalars[:, 1:])
    with pytest.raises(ZoovetError, match=r"slots must have the shape \(2, \d+\), got"):
        Action(action.symmetry, action.slots[:, 1:], action.scalars)
