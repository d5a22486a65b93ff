"""StatNN: its statistics against NumPy, its trees against labels that the statistics do and do not tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets.statnn import StatNN, StatNNConfig, statistic_names, weight_statistics
from zoovet.networks import Graph, Networks, mlp, small_cnn
from zoovet.symmetry import random_action

RELU = mlp((3, 4, 2))
TANH = mlp((3, 4, 2), "tanh")
QUICK = StatNNConfig(num_trees=30, max_leaf_nodes=(4,), min_samples_leaf=5)


def random_networks(graph: Graph, count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    return Networks.from_flat(graph, torch.randn(count, graph.num_parameters, generator=generator, dtype=dtype))


def shifted(networks: Networks, labels: torch.Tensor, amount: float) -> Networks:
    """Networks whose last bias is moved up where the label is 1."""
    biases = [*networks.biases[:-1], networks.biases[-1] + amount * labels[:, None]]
    return Networks.from_layers(networks.graph, networks.weights, tuple(biases))


def alternating(count: int) -> torch.Tensor:
    return (torch.arange(count) % 2).float()


def test_statistics_are_numpys() -> None:
    networks = random_networks(small_cnn(channels=(4, 3)), 5, dtype=torch.float64)
    expected = []
    for weight, bias in zip(networks.weights, networks.biases, strict=True):
        for tensor in (weight.flatten(1).numpy(), bias.numpy()):
            expected += [tensor.mean(axis=1), tensor.var(axis=1), *np.quantile(tensor, (0, 0.25, 0.5, 0.75, 1), axis=1)]
    torch.testing.assert_close(
        weight_statistics(networks), torch.from_numpy(np.stack(expected, axis=1)), rtol=1e-12, atol=1e-14
    )


def test_every_column_has_a_name() -> None:
    networks = random_networks(RELU, 1)
    names = statistic_names(RELU)
    statistics = dict(zip(names, weight_statistics(networks)[0], strict=True))
    assert names[:2] == ("layer 0 weight mean", "layer 0 weight variance")
    assert statistics["layer 1 bias quantile 1"] == networks.biases[1].max()
    assert statistics["layer 0 weight quantile 0"] == networks.weights[0].min()


def test_statistics_do_not_see_permutations() -> None:
    networks = random_networks(RELU, 6, dtype=torch.float64)
    action = random_action(RELU, 6, torch.Generator().manual_seed(1), rescale=False)
    torch.testing.assert_close(weight_statistics(action(networks)), weight_statistics(networks))


def test_many_networks_give_what_each_gives_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = random_networks(RELU, 7)
    whole = weight_statistics(networks)
    monkeypatch.setattr("zoovet.metanets.statnn._MAX_QUANTILE_INPUT", 24)
    torch.testing.assert_close(weight_statistics(networks), whole, rtol=0, atol=0)


def test_trees_learn_what_the_statistics_tell_and_nothing_else() -> None:
    labels = alternating(200)
    learned = StatNN(QUICK).fit(shifted(random_networks(RELU, 200), labels, 3.0), labels)
    held_out = shifted(random_networks(RELU, 100, seed=1), labels[:100], 3.0)
    scores = learned.predict_proba(held_out)
    assert scores.dtype == torch.float32
    assert scores.shape == (100,)
    assert ((scores > 0.5) == labels[:100].bool()).float().mean() > 0.95
    clueless = StatNN(QUICK).fit(random_networks(RELU, 200), labels).predict_proba(random_networks(RELU, 100, seed=1))
    assert ((clueless > 0.5) == labels[:100].bool()).float().mean() < 0.7


def test_the_same_seed_gives_the_same_trees() -> None:
    labels, networks = alternating(80), random_networks(RELU, 80)
    first, second = (StatNN(QUICK).fit(networks, labels).predict_proba(networks) for _ in range(2))
    assert torch.equal(first, second)


def test_validation_networks_choose_the_number_of_trees() -> None:
    labels = alternating(120)
    networks, held_out = (shifted(random_networks(RELU, 120, seed=seed), labels, 0.7) for seed in (0, 1))
    config = StatNNConfig(num_trees=40, max_leaf_nodes=(2, 8), min_samples_leaf=5)
    chosen = StatNN(config).fit(networks, labels, (held_out, labels))
    scores = chosen.predict_proba(held_out)
    for leaves in (2, 8):
        fixed = StatNN(StatNNConfig(num_trees=40, max_leaf_nodes=(leaves,), min_samples_leaf=5))
        assert area(scores, labels) >= area(fixed.fit(networks, labels).predict_proba(held_out), labels)


def area(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of (0, 1) pairs in the right order, ties half."""
    differences = scores[labels == 1][:, None] - scores[labels == 0][None]
    return float(((differences > 0).double() + 0.5 * (differences == 0).double()).mean())


def test_networks_of_several_activations_go_together_and_are_told_apart() -> None:
    networks = [random_networks(RELU, 60), random_networks(TANH, 60, seed=1)]
    labels = torch.cat([torch.zeros(60), torch.ones(60)])
    scores = StatNN(QUICK).fit(networks, labels).predict_proba(networks)
    assert scores[:60].max() < 0.5 < scores[60:].min()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(10), r"the training labels must hold both 0 and 1, got \[0\]"),
        (torch.zeros(9), r"10 training networks need as many labels, got the shape \[9\]"),
        (torch.arange(10), "the training labels must hold both 0 and 1, got"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: torch.Tensor, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        StatNN(QUICK).fit(random_networks(RELU, 10), labels)


def test_networks_that_do_not_go_together_are_refused() -> None:
    deeper = random_networks(mlp((3, 4, 4, 2)), 20)
    with pytest.raises(ZoovetError, match="all have the same number of layers, got 2 and 3 layers"):
        StatNN(QUICK).fit([random_networks(RELU, 20), deeper], alternating(40))
    fitted = StatNN(QUICK).fit(random_networks(RELU, 20), alternating(20))
    with pytest.raises(ZoovetError, match="fitted on networks of 2 layers, got some of 3"):
        fitted.predict_proba(deeper)


def test_asking_before_fitting_is_refused() -> None:
    with pytest.raises(ZoovetError, match="has seen no networks yet; call fit first"):
        StatNN().predict_proba(random_networks(RELU, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_trees": 0}, "num_trees and min_samples_leaf of at least 1"),
        ({"learning_rate": 0.0}, "learning_rate above 0"),
        ({"max_leaf_nodes": ()}, "max_leaf_nodes must list numbers of at least 2"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        StatNNConfig(**options)
