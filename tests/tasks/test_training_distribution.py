"""In-distribution scores: exact ranks, what must be told apart, invariance, storage."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import load_dataset
from zoovet.jobs import Inline
from zoovet.networks import Graph, Networks
from zoovet.symmetry import random_action
from zoovet.tasks import distribution_fitting
from zoovet.tasks.distribution_fitting import fit_training_distribution
from zoovet.tasks.population import load_populations
from zoovet.tasks.training_distribution import LEVEL, GraphDistribution, TrainingDistribution
from zoovet.zoo import TrojanRecipe, Zoo
from zoovet.zoo.base_training import BaseTraining
from zoovet.zoo.factory import build_zoo
from zoovet.zoo.samples import Samples, Schedule
from zoovet.zoo.training import initial_weights, network_trainer, train_network

RECIPE = TrojanRecipe(
    dataset="digits",
    num_bases=160,
    activations=("relu", "tanh"),
    channels=(8, 8),
    train_images=1000,
    test_images=100,
    batch_size=32,
    base=BaseTraining(epochs=12, inits=("he", "glorot"), optimizers=("adam",)),
    min_clean_accuracy=0.6,
    min_asr=0.2,
    bases_per_shard=160,
)


@pytest.fixture(scope="module")
def trained_zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """120 networks that have learnt the digits, half ReLU, half tanh."""
    return build_zoo(RECIPE, tmp_path_factory.mktemp("digits"), runner=Inline())


@pytest.fixture(scope="module")
def distribution(trained_zoo: Zoo) -> TrainingDistribution:
    return fit_training_distribution(*load_populations(trained_zoo))


def held_out(zoo: Zoo) -> list[Networks]:
    return [networks for networks, _ in zoo.split("test").batches_by_graph()]


def shuffled(networks: Networks, layer: int) -> Networks:
    """A layer's weights in another order, another one for each network."""
    generator = torch.Generator().manual_seed(4)
    rows = [row.flatten()[torch.randperm(row.numel(), generator=generator)] for row in networks.weights[layer]]
    weights = list(networks.weights)
    weights[layer] = torch.stack(rows).view_as(weights[layer])
    return Networks.from_layers(networks.graph, tuple(weights), networks.biases)


def with_huge_weight(networks: Networks) -> Networks:
    weights = [weight.clone() for weight in networks.weights]
    weights[1][:, 1, 2, 0, 0] = 100.0
    return Networks.from_layers(networks.graph, tuple(weights), networks.biases)


def untrained(graph: Graph, count: int = 20) -> Networks:
    generator = np.random.default_rng(0)
    flat = [torch.from_numpy(initial_weights(graph, "he", 0.2, generator)) for _ in range(count)]
    return Networks.from_flat(graph, torch.stack(flat))


def of_another_dataset(graph: Graph, count: int = 6) -> Networks:
    """Networks that have learnt other images of the same shape: digits black on white, on their side, renamed."""
    digits = load_dataset("digits", "train")[torch.arange(1000)]
    images = -digits.scaled().transpose(2, 3).contiguous().numpy()
    labels = ((digits.labels * 3 + 1) % 10).to(torch.int32).numpy()
    samples = Samples(images, images[:0], np.arange(1000, dtype=np.int32), labels)
    schedule = Schedule(optimizer="adam", learning_rate=5e-3, weight_decay=0.0, dropout=0.0, batch_size=32, epochs=8)
    generator, trainer = np.random.default_rng(7), network_trainer(graph)
    flat = [
        train_network(trainer, initial_weights(graph, "he", 0.2, generator), samples, schedule, generator)[0]
        for _ in range(count)
    ]
    return Networks.from_flat(graph, torch.from_numpy(np.stack(flat)))


def test_networks_of_the_same_zoo_are_in_distribution(trained_zoo: Zoo, distribution: TrainingDistribution) -> None:
    test = held_out(trained_zoo)
    scores = distribution.score(test)
    assert scores.dtype == torch.float32
    assert scores.shape == (sum(map(len, test)),)
    assert bool(((scores > 0) & (scores <= 1)).all())
    assert float(scores.mean()) > 0.3
    assert int(distribution.is_out(test).sum()) <= 1


@pytest.mark.parametrize(
    ("stranger", "share"),
    [("untrained", 0.9), ("doubled", 0.75), ("shuffled", 0.4), ("huge", 1.0), ("another dataset", 0.75)],
)
def test_strangers_are_out_of_distribution(
    stranger: str, share: float, trained_zoo: Zoo, distribution: TrainingDistribution
) -> None:
    for own in held_out(trained_zoo):
        networks = {
            "untrained": [untrained(own.graph)],
            "doubled": [own.map(lambda tensor: 2 * tensor)],
            "shuffled": [shuffled(own, layer) for layer in range(3)],
            "huge": [with_huge_weight(own)],
            "another dataset": [of_another_dataset(own.graph)],
        }[stranger]
        for some in networks:
            out = distribution.is_out([some])
            assert float(out.float().mean()) >= share, own.graph.chain.activation
            assert float(distribution.score([some])[out].max()) <= 1 / 90


def test_no_symmetry_changes_a_distance(trained_zoo: Zoo, distribution: TrainingDistribution) -> None:
    for own in held_out(trained_zoo):
        networks, fitted = own.to(dtype=torch.float64), distribution.by_graph[own.graph]
        moved = random_action(own.graph, len(own), torch.Generator().manual_seed(0))(networks)
        before, after = fitted.distance(networks), fitted.distance(moved)
        assert not torch.allclose(networks.flat(), moved.flat())
        torch.testing.assert_close(after, before, rtol=1e-10, atol=0)
        changed = fitted.distance(networks.map(lambda tensor: 1.01 * tensor))
        assert float((changed / before - 1).abs().max()) > 1e-4, "the check would see a change of the function"


def made_up(count: int) -> GraphDistribution:
    """Distances 1, 2, … count."""
    fitted = GraphDistribution(parts={}, distances=torch.arange(1.0, count + 1), cutoff=torch.tensor(0.0))
    return replace(fitted, cutoff=torch.tensor(distribution_fitting._cutoff(fitted.distances.double())))


def test_a_score_is_the_rank_among_networks_alike() -> None:
    scores = made_up(4).p_value(torch.tensor([0.5, 1.0, 2.5, 4.0, 9.0], dtype=torch.float64))
    assert scores.tolist() == pytest.approx([5 / 5, 5 / 5, 3 / 5, 2 / 5, 1 / 5])


@pytest.mark.parametrize("count", [99, 100, 150, 500, 1234])
def test_far_is_what_has_a_score_of_at_most_the_level(count: int) -> None:
    fitted = made_up(count)
    distances = torch.arange(0.5, count + 2, 0.5, dtype=torch.float64)
    far = distances > fitted.cutoff.double()
    assert torch.equal(far, fitted.p_value(distances) <= LEVEL)
    assert bool(far.any())
    assert int(far[1::2].sum()) <= LEVEL * (count + 1), "of the networks themselves no larger share"


def test_with_few_networks_far_is_beyond_what_they_foretell() -> None:
    """The share of log-normal distances beyond the cutoff of 20 others, many times over."""
    generator = torch.Generator().manual_seed(0)
    num_beyond = 0
    for _ in range(500):
        distances = torch.randn(220, generator=generator, dtype=torch.float64).mul(0.2).exp()
        cutoff = distribution_fitting._cutoff(distances[:20].sort().values)
        assert cutoff >= float(distances[:20].max())
        num_beyond += int((distances[20:] > cutoff).sum())
    assert 0.004 < num_beyond / 100_000 < 0.012
    assert distribution_fitting._cutoff(torch.ones(1, dtype=torch.float64)) == math.inf


def test_a_distribution_comes_back_from_its_tensors(trained_zoo: Zoo, distribution: TrainingDistribution) -> None:
    tensors, test = distribution.to_tensors(), held_out(trained_zoo)
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    graphs = list(distribution.by_graph)
    again = TrainingDistribution.from_tensors(tensors, graphs, "here")
    assert torch.equal(again.score(test), distribution.score(test))
    assert torch.equal(again.is_out(test), distribution.is_out(test))
    name = f"{graphs[0].graph_id}.answers.mean"
    with pytest.raises(ZoovetError, match=r"here is damaged: its training distribution lacks .* 'answers.mean'"):
        TrainingDistribution.from_tensors({key: tensors[key] for key in tensors if key != name}, graphs, "here")
    with pytest.raises(ZoovetError, match=r"here is damaged: its training distribution's answers has the shapes"):
        TrainingDistribution.from_tensors(tensors | {name: torch.zeros(3)}, graphs, "here")


def test_scores_come_in_the_order_of_the_networks(trained_zoo: Zoo, distribution: TrainingDistribution) -> None:
    one, two = held_out(trained_zoo)
    together = distribution.score([one, two])
    torch.testing.assert_close(together, torch.cat([distribution.score([one]), distribution.score([two])]))
    torch.testing.assert_close(distribution.score([two, one[:0], one[3]])[len(two) :], together[3:4])
