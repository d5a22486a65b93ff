"""The checks accept metanetworks that respect the symmetries and reject those that do not, saying why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.metanets import FlatMLP, FlatMLPConfig
from zoovet.networks.batch import Networks
from zoovet.networks.chains import mlp, siren, small_cnn
from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import LayerSpec, PoolSpec
from zoovet.networks.run import run
from zoovet.symmetry import (
    assert_equivariant,
    assert_invariant,
    deviation_equivariant,
    deviation_invariant,
    graph_symmetry,
    random_action,
    random_chain,
    random_networks,
)
from zoovet.symmetry.ties import NEGATION

RELU = mlp((3, 9, 7, 2), "relu")
TANH = mlp((3, 9, 7, 2), "tanh")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def networks_of(graph: Graph, num_networks: int = 3, zero_fraction: float = 0.0) -> Networks:
    return random_networks(graph, num_networks, seeded(11), zero_fraction=zero_fraction)


def small_cnn_with_max_pooling(activation: str) -> Graph:
    pool = PoolSpec(kind="max", kernel=(2, 2), stride=(2, 2))
    conv = LayerSpec(kind="conv", in_channels=1, out_channels=5, kernel=(3, 3), activation=activation, pool=pool)
    return Graph.of_layers(
        input_shape=(1, 8, 8), layers=(conv, LayerSpec(kind="linear", in_channels=5, out_channels=2, kernel=(3, 3)))
    )


# Metanetworks that respect the symmetries.


def images_for(networks: Networks) -> Tensor:
    images = torch.randn(6, *networks.graph.input_shape, generator=seeded(5), dtype=torch.float64)
    return images.to(networks.dtype)


def function_features(networks: Networks | Sequence[Networks]) -> Tensor:
    """Mean and standard deviation of the logits on fixed images: invariant whatever the architecture. [B, 2]."""
    if not isinstance(networks, Networks):
        return torch.cat([function_features(one) for one in networks])
    logits = run(networks, images_for(networks)).flatten(1)
    return torch.stack([logits.mean(dim=1), logits.std(dim=1)], dim=1)


def gradient(networks: Networks) -> Networks:
    """Of the sum of squared logits; a gradient scales with the inverse of what the weights scale with."""
    with torch.enable_grad():
        leaves = networks.map(lambda tensor: tensor.detach().requires_grad_())
        run(leaves, images_for(networks)).square().sum().backward()
    return leaves.map(lambda leaf: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)


def squared_times_gradient(networks: Networks | Sequence[Networks]) -> Networks | list[Networks]:
    """w² ∂L/∂w scales as w does: equivariant under every scalar and every permutation."""
    if not isinstance(networks, Networks):
        return [Networks.from_flat(one.graph, one.flat().square() * gradient(one).flat()) for one in networks]
    return Networks.from_flat(networks.graph, networks.flat().square() * gradient(networks).flat())


def shrink_by_features(networks: Networks) -> Networks:
    """The weights times an invariant number of each network: equivariant, without gradients."""
    factors = torch.sigmoid(function_features(networks)[:, 0])
    return networks.map(lambda tensor: tensor * factors.reshape(-1, *(1 for _ in tensor.shape[1:])))


class InvariantModule(nn.Module):
    """An MLP of invariant features, in float32, with batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))
        for number, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, generator=seeded(number))

    def forward(self, networks: Networks | Sequence[Networks]) -> Tensor:
        output: Tensor = self.head(function_features(networks))
        return output


# Metanetworks that do not.


def flat_mlp(graph: Graph, num_outputs: int) -> FlatMLP:
    """Reads the flat vector: knows nothing of symmetries."""
    config = FlatMLPConfig(width=16, num_layers=1, num_outputs=num_outputs, num_parameters=graph.num_parameters)
    return FlatMLP(config, seeded())


def weight_moments(networks: Networks) -> Tensor:
    """Sums over each tensor: permutations do not matter, scalings do."""
    return torch.stack(
        [tensor.square().flatten(1).sum(dim=1) for tensor in (*networks.weights, *networks.biases)], dim=1
    )


def channel_by_channel(networks: Networks) -> Tensor:
    """|bias| × outgoing norm × position of each channel before the output: scalars cancel, permutations do not."""
    products = networks.biases[-2].abs() * networks.weights[-1].norm(dim=1)
    return products @ torch.arange(products.shape[1], dtype=products.dtype)[:, None]


def plus_leak(size: float) -> Callable[[Networks], Tensor]:
    return lambda networks: function_features(networks) + size * networks.weights[0].flatten(1)[:, :1]


# Accepted.


@pytest.mark.parametrize("mode", ["eval", "train", "both"])
def test_invariant_metanetworks_pass(mode: str) -> None:
    for graph in (RELU, TANH, siren(), small_cnn(), small_cnn_with_max_pooling("tanh"), mlp((3, 2))):
        assert_invariant(function_features, networks_of(graph), mode=mode)
        assert_invariant(InvariantModule(), networks_of(graph), mode=mode)


def test_equivariant_metanetworks_pass() -> None:
    for graph in (RELU, TANH, mlp((3, 6, 2), "identity"), mlp((3, 6, 2), "gelu"), small_cnn(channels=(4, 5))):
        assert_equivariant(squared_times_gradient, networks_of(graph))
        assert_equivariant(shrink_by_features, networks_of(graph))


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_pass_one_by_one_and_as_a_mixed_batch(seed: int) -> None:
    generator = seeded(seed)
    graphs = [random_chain(generator, num_layers=1 + seed % 6, max_width=12, kernels=(1, 3, 5)) for _ in range(3)]
    batches = [random_networks(graph, 4, generator, zero_fraction=0.05) for graph in graphs]
    for batch in batches:
        assert_invariant(function_features, batch, seed=seed)
        assert_equivariant(squared_times_gradient, batch, seed=seed)
    assert_invariant(function_features, batches, seed=seed)
    assert_equivariant(squared_times_gradient, batches, seed=seed)


def test_float32_networks_and_modules_are_checked_in_float64_and_left_alone() -> None:
    module, networks = InvariantModule().train(), networks_of(RELU).to(dtype=torch.float32)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert_invariant(module, networks)
    assert module.training
    assert networks.dtype == torch.float32
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert tensor.dtype == before[name].dtype


def test_deviations_are_rounding_where_symmetries_hold_and_numbers_where_not() -> None:
    good = deviation_invariant(function_features, networks_of(RELU))
    assert 0 < good.largest < 1e-12
    assert good.signal > 0.1
    bad = deviation_invariant(weight_moments, networks_of(RELU))
    assert bad.permutation < 1e-12
    assert bad.scaling > 1
    assert bad.largest == max(bad.scaling, bad.both)
    assert bad.worst == RELU.describe()
    assert deviation_equivariant(squared_times_gradient, networks_of(RELU)).largest < 1e-11
    assert deviation_equivariant(gradient, networks_of(RELU)).scaling > 0.1


# Rejected.


def test_a_flat_mlp_is_rejected() -> None:
    with pytest.raises(AssertionError, match="is not invariant: permutations and scalings break it"):
        assert_invariant(flat_mlp(RELU, 2), networks_of(RELU))

    def changes(networks: Networks) -> Networks:
        return Networks.from_flat(RELU, flat_mlp(RELU, RELU.num_parameters).double()(networks))

    with pytest.raises(AssertionError, match="is not equivariant: permutations and scalings break it"):
        assert_equivariant(changes, networks_of(RELU))


@pytest.mark.parametrize("graph", [RELU, mlp((3, 9, 2), "identity"), small_cnn(), small_cnn_with_max_pooling("relu")])
def test_permutations_alone_are_not_enough_where_scales_act(graph: Graph) -> None:
    with pytest.raises(
        AssertionError, match=r"is not invariant: scalings break it.*permutations alone [0-9.]+e-1[0-9]"
    ):
        assert_invariant(weight_moments, networks_of(graph))
    with pytest.raises(AssertionError, match="is not equivariant: scalings break it"):
        assert_equivariant(gradient, networks_of(graph))


def test_sign_symmetry_asks_for_signs_and_no_more() -> None:
    assert_invariant(weight_moments, networks_of(TANH))
    assert_equivariant(gradient, networks_of(TANH))
    with pytest.raises(AssertionError, match="is not invariant: scalings break it"):
        assert_invariant(lambda networks: networks.biases[0].relu().sum(dim=1), networks_of(TANH))


def test_tanh_before_max_pooling_asks_for_permutations_alone() -> None:
    graph = small_cnn_with_max_pooling("tanh")

    def positive_biases(networks: Networks) -> Tensor:
        return networks.biases[0].relu().sum(dim=1)

    deviations = deviation_invariant(positive_biases, networks_of(graph))
    assert deviations.largest < 1e-12
    assert deviations.scaling == deviations.both == 0
    flips = random_action(graph_symmetry(graph).with_scalars(NEGATION), 3, seeded())
    networks = networks_of(graph)
    moved = (function_features(flips(networks)) - function_features(networks)).abs().max()
    assert float(moved) > 1e-2


def test_what_depends_on_positions_is_rejected() -> None:
    for graph in (RELU, TANH):
        with pytest.raises(
            AssertionError, match=r"is not invariant: permutations break it.*scalings alone (0\.0e\+00|[0-9.]+e-1[0-9])"
        ):
            assert_invariant(channel_by_channel, networks_of(graph))

    def changes_by_position(networks: Networks) -> Networks:
        positions = torch.arange(9, dtype=torch.float64)
        biases = (networks.biases[0] * positions, *networks.biases[1:])
        return Networks.from_layers(networks.graph, networks.weights, biases)

    with pytest.raises(AssertionError, match="is not equivariant: permutations break it"):
        assert_equivariant(changes_by_position, networks_of(RELU))


def test_a_small_leak_is_rejected() -> None:
    deviations = deviation_invariant(plus_leak(1e-6), networks_of(RELU))
    assert 1e-8 < deviations.largest < 1e-4
    with pytest.raises(AssertionError, match=r"both \d\.\de-0[4-8]; tolerance 1e-10. Worst: 3 → linear 9 relu"):
        assert_invariant(plus_leak(1e-6), networks_of(RELU))

    def leaking(networks: Networks) -> Networks:
        return networks.map(
            lambda tensor: tensor + 1e-6 * tensor.flatten(1).amax(dim=1).reshape(-1, *(1,) * (tensor.ndim - 1))
        )

    with pytest.raises(AssertionError, match="is not equivariant"):
        assert_equivariant(leaking, networks_of(RELU))


def test_a_leak_counts_against_the_tolerance_that_is_asked_for() -> None:
    assert_invariant(plus_leak(1e-9), networks_of(RELU), tolerance=1e-6)
    with pytest.raises(AssertionError, match="is not invariant"):
        assert_invariant(plus_leak(1e-9), networks_of(RELU))


def test_one_bad_spec_in_a_mixed_batch_is_found_and_named() -> None:
    def wrong_for_relu(batches: Sequence[Networks]) -> Tensor:
        return torch.cat([weight_moments(batch)[:, :3] for batch in batches])

    with pytest.raises(AssertionError, match=r"scalings break it.*Worst: 3 → linear 9 relu → linear 7 relu → linear 2"):
        assert_invariant(wrong_for_relu, [networks_of(TANH), networks_of(RELU)])
    assert_invariant(wrong_for_relu, [networks_of(TANH), networks_of(siren())])


# The check would mean nothing.


@pytest.mark.parametrize(
    "constant",
    [
        lambda networks: torch.ones(len(networks), 2, dtype=torch.float64),
        lambda networks: torch.zeros(len(networks), 2, dtype=torch.float64),
        lambda networks: 1 + 1e-9 * function_features(networks),
        lambda networks: 1 + 1e-9 * weight_moments(networks),
        lambda networks: torch.full((len(networks), 1), float(networks.graph.num_parameters), dtype=torch.float64),
    ],
)
def test_an_output_that_hardly_depends_on_the_weights_is_rejected(constant: Callable[[Networks], Tensor]) -> None:
    with pytest.raises(AssertionError, match="meaningless: the metanetwork's output hardly depends on the weights"):
        assert_invariant(constant, networks_of(RELU))


def test_changes_of_zero_are_rejected() -> None:
    with pytest.raises(AssertionError, match=r"meaningless: .* hardly depends .* change it by 0.0e\+00 relative"):
        assert_equivariant(lambda networks: networks.map(torch.zeros_like), networks_of(RELU))


def test_one_spec_without_signal_in_a_mixed_batch_is_rejected() -> None:
    def blind_to_tanh(batches: Sequence[Networks]) -> Tensor:
        return torch.cat([function_features(batch) * (batch.graph == RELU) for batch in batches])

    with pytest.raises(AssertionError, match="meaningless"):
        assert_invariant(blind_to_tanh, [networks_of(RELU), networks_of(TANH)])


def test_an_output_that_is_not_finite_is_rejected() -> None:
    with pytest.raises(
        AssertionError, match="meaningless: the metanetwork's output is not finite on 3 → linear 9 relu"
    ):
        assert_invariant(lambda networks: function_features(networks) * float("nan"), networks_of(RELU))
    with pytest.raises(AssertionError, match="output is not finite"):
        assert_equivariant(lambda networks: networks.map(lambda tensor: tensor / 0), networks_of(RELU))


def test_an_output_that_stops_being_finite_under_an_action_is_rejected() -> None:
    networks = networks_of(RELU)
    limit = networks.biases[0].max()

    def fragile(moved: Networks) -> Tensor:
        return function_features(moved) + torch.where(moved.biases[0].max() > limit, torch.inf, 0.0)

    assert deviation_invariant(fragile, networks).scaling == float("inf")


def test_a_random_metanetwork_is_rejected() -> None:
    generator = seeded()

    def noisy(networks: Networks) -> Tensor:
        return function_features(networks) + torch.randn(len(networks), 2, generator=generator, dtype=torch.float64)

    with pytest.raises(AssertionError, match="the metanetwork is random: two runs on the same networks differ by"):
        assert_invariant(noisy, networks_of(RELU))


# Options and misuse.


def test_a_metanetwork_can_be_held_to_less() -> None:
    assert_invariant(weight_moments, networks_of(RELU), symmetry="permutation")
    with pytest.raises(AssertionError, match="permutations break it"):
        assert_invariant(channel_by_channel, networks_of(RELU), symmetry="permutation")
    relu, tanh = RELU.chain.layers[0], TANH.chain.layers[1]
    graph = Graph.of_layers(input_shape=(3,), layers=(relu, tanh, RELU.chain.layers[2]))
    assert_invariant(weight_moments, networks_of(graph), symmetry="network")
    with pytest.raises(AssertionError, match="scalings break it"):
        assert_invariant(weight_moments, networks_of(graph), symmetry="groups")
    with pytest.raises(AssertionError, match="scalings break it"):
        assert_invariant(weight_moments, networks_of(RELU), symmetry="network")


def test_training_mode_is_checked_too() -> None:
    class LeakyInTraining(nn.Module):
        def forward(self, networks: Networks) -> Tensor:
            return weight_moments(networks) if self.training else function_features(networks)

    assert_invariant(LeakyInTraining(), networks_of(RELU), mode="eval")
    for mode in ("train", "both"):
        with pytest.raises(AssertionError, match="scalings break it"):
            assert_invariant(LeakyInTraining(), networks_of(RELU), mode=mode)


def test_misuse_is_named() -> None:
    networks = networks_of(RELU)
    for bad, message in (
        (lambda n: function_features(n).float(), r"checked in float64, but the metanetwork returned torch.float32"),
        (lambda n: function_features(n)[:2], r"must return a tensor \[3, …\], one row for each network, got \[2, 2\]"),
        (lambda n: "trojaned", r"must return a tensor \[3, …\], one row for each network, got str"),
    ):
        with pytest.raises(ZoovetError, match=message):
            assert_invariant(bad, networks)
    for bad, message in (
        (
            function_features,
            r"as Networks, one for each of the 1 graphs it is given, got Tensor",
        ),
        (lambda n: n[:2], r"changes must be of 3 networks 3 → linear 9 .*, got 2 of"),
        (lambda n: n.to(dtype=torch.float32), "returned torch.float32"),
    ):
        with pytest.raises(ZoovetError, match=message):
            assert_equivariant(bad, networks)
    with pytest.raises(ZoovetError, match="symmetry 'permutations' is unknown; did you mean 'permutation'"):
        assert_invariant(function_features, networks, symmetry="permutations")
    with pytest.raises(ZoovetError, match="mode 'test' is unknown"):
        assert_invariant(function_features, networks, mode="test")
    with pytest.raises(ZoovetError, match="num_actions must be at least 1, got 0"):
        assert_invariant(function_features, networks, num_actions=0)
    with pytest.raises(ZoovetError, match="needs at least one network of every graph, got none"):
        assert_invariant(function_features, [])
    with pytest.raises(ZoovetError, match="needs at least one network"):
        assert_invariant(function_features, networks[:0])
