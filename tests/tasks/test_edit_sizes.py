from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, mlp, small_cnn
from zoovet.symmetry import random_action
from zoovet.tasks.checkpoints import Description
from zoovet.tasks.edit_sizes import EditSize, edit_sizes_of, edit_sizes_to_json, scale_free_changes


def test_a_change_is_relative_to_each_networks_own_weights(networks_of: Callable[..., Networks]) -> None:
    networks = networks_of(mlp((3, 4, 2)), 3, dtype=torch.float32)
    factors = torch.tensor([1.0, 1.5, 0.0])
    edited = networks.map(lambda tensor: tensor * factors.view(-1, *[1] * (tensor.dim() - 1)))
    expected = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(scale_free_changes(networks, edited), expected)


def test_how_channels_are_scaled_makes_no_difference(networks_of: Callable[..., Networks]) -> None:
    graph = small_cnn("relu", input_shape=(1, 8, 8), channels=(5, 4), num_classes=3)
    networks, edited = networks_of(graph, 3), networks_of(graph, 3, seed=1)
    action = random_action(graph, 3, torch.Generator().manual_seed(2), max_log_scale=1.0)
    expected = scale_free_changes(networks, edited)
    torch.testing.assert_close(scale_free_changes(action(networks), action(edited)), expected)


def test_what_reads_a_channel_that_hardly_fires_counts_little(networks_of: Callable[..., Networks]) -> None:
    networks = networks_of(mlp((3, 4, 2)), 1)
    silent = torch.tensor([1.0, 1.0, 1.0, 1e-6], dtype=networks.dtype)
    rows = networks.weights[0] * silent[:, None], networks.weights[1]
    networks = Networks.from_layers(networks.graph, rows, (networks.biases[0] * silent, networks.biases[1]))
    change = torch.zeros_like(networks.weights[1])
    change[0, :, 3] = 50.0
    edited = Networks.from_layers(networks.graph, (networks.weights[0], networks.weights[1] + change), networks.biases)
    assert 0 < float(scale_free_changes(networks, edited)) < 0.1
    awake = edited.weights[1] + change.roll(1, dims=2)
    louder = Networks.from_layers(networks.graph, (networks.weights[0], awake), networks.biases)
    assert float(scale_free_changes(networks, louder)) > 5


def test_of_many_networks_it_is_the_quantile() -> None:
    changes = torch.linspace(0, 1, 2001)
    sizes = EditSize.of(changes[torch.randperm(2001, generator=torch.Generator().manual_seed(0))])
    assert sizes is not None
    assert sizes.limit == pytest.approx(0.999)
    assert sizes.num_networks == 2001


def test_of_few_networks_it_is_beyond_all_of_them_and_rarely_passed() -> None:
    generator = torch.Generator().manual_seed(0)
    passed = []
    for _ in range(400):
        changes = torch.randn(30, generator=generator).mul(0.3).exp() * 0.2
        sizes = EditSize.of(changes)
        assert sizes is not None
        assert sizes.limit >= float(changes.max())
        fresh = torch.randn(1000, generator=generator).mul(0.3).exp() * 0.2
        passed.append(float((fresh > sizes.limit).float().mean()))
    assert sum(passed) / len(passed) == pytest.approx(0.001, abs=0.0008)


@pytest.mark.parametrize("changes", [[], [0.3], [0.0, 0.0]])
def test_of_too_few_or_no_changes_there_is_none(changes: list[float]) -> None:
    assert EditSize.of(torch.tensor(changes)) is None


GRAPHS = (mlp((3, 4, 2)), mlp((3, 2)))
GOOD = {"limit": 0.25, "num_networks": 700}


def test_a_checkpoint_says_it() -> None:
    sizes = {GRAPHS[1]: EditSize(0.25, 700)}
    said = edit_sizes_to_json(sizes, GRAPHS)
    assert said == {"scale_free_edit_sizes": [None, GOOD]}
    assert edit_sizes_of(Description(Path("a"), said), GRAPHS) == sizes
    assert edit_sizes_of(Description(Path("a"), {}), GRAPHS) == {}


@pytest.mark.parametrize("said", [None, [GOOD], [GOOD, {}], [GOOD, {**GOOD, "limit": "1"}], {}])
def test_what_a_damaged_checkpoint_says_is_refused(said: object) -> None:
    with pytest.raises(ZoovetError, match=r"a: its scale_free_edit_sizes"):
        edit_sizes_of(Description(Path("a"), {"scale_free_edit_sizes": said}), GRAPHS)
