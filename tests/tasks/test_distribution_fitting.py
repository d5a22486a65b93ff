"""Fitting a training distribution: who takes part, and zoos too small for it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from zoovet.tasks.distribution_fitting import fit_training_distribution
from zoovet.tasks.network_pool import NetworkPool
from zoovet.tasks.population import load_populations
from zoovet.zoo import Zoo


def first(pool: NetworkPool, count: int) -> NetworkPool:
    """The pool's first networks."""
    return NetworkPool(
        network_ids=pool.network_ids[:count],
        graphs=pool.graphs,
        weights=pool.weights,
        graph_of=pool.graph_of[:count],
        row_of=pool.row_of[:count],
        base_of=pool.base_of[:count],
    )


def test_every_training_and_validation_network_is_compared_with(zoo: Zoo) -> None:
    train, validation = load_populations(zoo)
    fitted = fit_training_distribution(train, validation)
    assert set(fitted.by_graph) == set(train.graphs)
    assert sum(len(own.distances) for own in fitted.by_graph.values()) == len(train) + len(validation)
    for own in fitted.by_graph.values():
        assert torch.equal(own.distances, own.distances.sort().values)


def test_a_sibling_never_takes_part_in_the_fit_that_a_network_is_measured_by(make_zoo: Callable[..., Zoo]) -> None:
    """Networks that are the same but for their base: siblings would be near, bases are far."""
    zoo = make_zoo(num_bases=40)
    train, validation = load_populations(zoo)
    apart = fit_training_distribution(train, validation)
    strangers = NetworkPool(
        network_ids=train.network_ids,
        graphs=train.graphs,
        weights=train.weights,
        graph_of=train.graph_of,
        row_of=train.row_of,
        base_of=torch.arange(len(train)),
    )
    mixed = fit_training_distribution(strangers, validation)
    for graph in train.graphs:
        unit = {name: float(part.unit) for name, part in apart.by_graph[graph].parts.items()}
        assert unit["weights"] > float(mixed.by_graph[graph].parts["weights"].unit)


def test_zoos_too_small_to_say_anything_call_nothing_far(zoo: Zoo) -> None:
    train, validation = load_populations(zoo)
    for num_train, num_validation in ((1, 0), (1, 1), (2, 0)):
        own_train, own_validation = first(train, num_train), first(validation, num_validation)
        fitted = fit_training_distribution(own_train, own_validation)
        networks = [batch for batch in validation.everything().networks if batch.graph in fitted.by_graph]
        scores = fitted.score(networks)
        assert bool(((scores > 0) & (scores <= 1)).all())
        assert not bool(fitted.is_out(networks).any())
