from __future__ import annotations

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMN, ScaleGMNConfig
from zoovet.networks.batch import Networks
from zoovet.networks.chains import mlp, small_cnn
from zoovet.symmetry import random_networks


def networks_of(activation: str, num_networks: int = 4, seed: int = 0) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    return random_networks(small_cnn(activation, channels=(4, 5)), num_networks, generator, dtype=torch.float32)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_graph_output_learns_a_statistic_of_the_weights(direction: str) -> None:
    networks = networks_of("relu", 64)
    target = networks.weights[-1].flatten(1).mean(1, keepdim=True)
    target = (target - target.mean()) / target.std()
    config = ScaleGMNConfig(width=16, num_layers=2, direction=direction)
    model = ScaleGMN(config, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(40):
        loss = (model(networks) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3  # the mean alone leaves 1


def test_weight_output_is_a_change_that_can_be_added() -> None:
    networks = [networks_of("tanh"), networks_of("relu", 3)]
    model = ScaleGMN(ScaleGMNConfig(width=8, num_layers=2, output="weights"), torch.Generator().manual_seed(0))
    changes = model(networks)
    for change, given in zip(changes, networks, strict=True):
        edited = given + change
        assert edited.graph == given.graph
        assert not torch.equal(edited.weights[0], given.weights[0])


def test_the_generator_alone_decides_on_the_parameters() -> None:
    config = ScaleGMNConfig(width=4, num_layers=1)
    first, second = (ScaleGMN(config, torch.Generator().manual_seed(3)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_networks_of_another_symmetry_are_refused() -> None:
    model = ScaleGMN(ScaleGMNConfig(width=4, num_layers=1, symmetry="sign"))
    with pytest.raises(ZoovetError, match="symmetry 'sign' reads hidden groups with the symmetry sign, got 'scale'"):
        model(networks_of("relu"))


@pytest.mark.parametrize(
    "options", [{"max_outputs": 3}, {"max_depth": 1}, {"max_inputs": 1}, {"max_kernel": (1, 7)}, {"max_kernel": (2, 2)}]
)
@pytest.mark.parametrize("output", ["graph", "weights"])
def test_small_tables_limit_no_network(options: dict[str, object], output: str) -> None:
    model = ScaleGMN(ScaleGMNConfig(width=4, num_layers=1, edge_embedding=True, output=output, **options))
    made = model(networks_of("relu"))
    assert torch.isfinite(made if isinstance(made, torch.Tensor) else made.flat()).all()


def test_nan_weights_are_refused_at_the_door() -> None:
    networks = networks_of("relu")
    networks.weights[1][2, 0, 0, 0, 0] = torch.nan
    with pytest.raises(ZoovetError, match="network 2 has NaN or infinite weights in layer 1"):
        ScaleGMN(ScaleGMNConfig(width=4, num_layers=1))(networks)


def test_for_specs_makes_just_enough_room() -> None:
    config = ScaleGMNConfig.for_graphs([small_cnn("relu"), mlp((5, 4, 3, 2, 12))], width=4)
    assert (config.max_inputs, config.max_depth, config.max_outputs, config.max_kernel) == (5, 3, 12, (3, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "backward"}, "direction 'backward' is unknown"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"num_message_mlps": 1}, "num_message_mlps 1 is unknown"),
        ({"max_kernel": (3, 0)}, "max_kernel must be"),
    ],
)
def test_configurations_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        ScaleGMNConfig(**options)
