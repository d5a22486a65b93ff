"""Reading a split of a zoo into memory, and which networks of it count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.tasks.population import Population, load_populations
from zoovet.zoo import Zoo


def test_a_population_holds_what_the_zoo_does(zoo: Zoo) -> None:
    split = zoo.split("train")
    population = Population.of_zoo(split, 0.5)
    assert population.network_ids == tuple(split.column("network_id"))
    assert population.trojaned.tolist() == split.column("poisoned").tolist()
    flat = split.weights()
    for place in range(len(population)):
        (networks,) = population.batch(torch.tensor([place])).networks
        assert networks.graph == zoo.graphs[split.column("spec_id")[place]]
        assert torch.equal(networks.flat()[0], flat[place])
        sibling = int(population.sibling_of[place])
        assert population.base_of[sibling] == population.base_of[place]
        assert population.trojaned[sibling] != population.trojaned[place]
        assert population.triggers[place] == split.trigger(place)


def test_a_batch_is_sorted_by_spec_and_says_who_is_where(zoo: Zoo) -> None:
    population = Population.of_zoo(zoo.split("train"), 0.5)
    wanted = torch.tensor([7, 2, 2, 11, 4, 0])
    batch = population.batch(wanted)
    assert sorted(batch.indices.tolist()) == sorted(wanted.tolist())
    assert len({networks.graph for networks in batch.networks}) == len(batch.networks) == 2
    flat = zoo.split("train").weights()
    assert torch.equal(torch.cat([networks.flat() for networks in batch.networks]), flat[batch.indices])


def test_networks_of_one_spec_make_one_batch(zoo: Zoo) -> None:
    population = Population.of_zoo(zoo.split("train"), 0.5)
    relu = torch.nonzero(population.graph_of == population.graph_of[0]).flatten()
    (networks,) = population.batch(relu).networks
    assert isinstance(networks, Networks)
    assert len(networks) == len(relu)


def test_weak_trojans_are_left_out_and_their_siblings_stay(make_zoo: Callable[..., Zoo]) -> None:
    zoo = make_zoo(asr=lambda base: 0.49 if base % 2 else 0.5)
    train, validation = load_populations(zoo)
    assert train.num_left_out == 6
    assert len(train) == 18
    assert len(train.trojaned_indices) == 6
    assert (train.sibling_of[train.healthy_indices] == -1).sum() == 6
    assert validation.num_left_out == 2


def test_trojans_whose_asr_was_not_measured_count(zoo: Zoo) -> None:
    unmeasured = replace(zoo, facts={**zoo.facts, "asr": np.full(len(zoo), np.nan)})
    population = Population.of_zoo(unmeasured.split("train"), 0.9)
    assert population.num_left_out == 0
    assert population.trojaned.tolist() == zoo.split("train").column("poisoned").tolist()


def test_only_training_and_validation_networks_are_read(zoo: Zoo) -> None:
    train, validation = load_populations(zoo)
    assert (len(train), len(validation)) == (24, 8)
    of_test = set(zoo.split("test").column("network_id"))
    assert of_test.isdisjoint(train.network_ids)
    assert of_test.isdisjoint(validation.network_ids)


def test_fingerprints_tell_populations_apart(make_zoo: Callable[..., Zoo], zoo: Zoo) -> None:
    train, validation = load_populations(zoo)
    assert train.fingerprint() == load_populations(zoo)[0].fingerprint()
    assert train.fingerprint() != validation.fingerprint()

    def nudge(row: dict[str, object]) -> None:
        if row["network_id"] == "00000-healthy":
            row["weights"][0] += 1e-6

    assert load_populations(make_zoo(change=nudge))[0].fingerprint() != train.fingerprint()


def test_a_zoo_without_poisoned_networks_is_refused(make_zoo: Callable[..., Zoo]) -> None:
    with pytest.raises(ZoovetError, match="has no poisoned networks, so there is nothing to tell apart or to repair"):
        load_populations(make_zoo(asr=lambda _: None))


def test_a_split_without_a_trojaned_network_is_refused(make_zoo: Callable[..., Zoo]) -> None:
    weak_in_validation = make_zoo(asr=lambda base: 0.2 if base % 5 == 3 else 0.9)
    message = r"the validation split of the zoo .* has no trojaned network \(4 poisoned ones with an ASR below 0.5"
    with pytest.raises(ZoovetError, match=message):
        load_populations(weak_in_validation)


def test_a_recipe_without_min_asr_is_refused(make_zoo: Callable[..., Zoo]) -> None:
    with pytest.raises(ZoovetError, match=r"must state min_asr, .* as a number; got None"):
        load_populations(make_zoo(min_asr=None))
