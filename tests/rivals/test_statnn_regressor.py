"""StatNN as a predictor of accuracies: on training and validation networks only, tuned by Kendall's τ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, mlp, small_cnn
from zoovet.rivals import StatNNRegressor, StatNNRegressorConfig
from zoovet.tasks.accuracy_data import AccuracyData
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard

FEW = StatNNRegressorConfig(
    num_trees=40, max_leaf_nodes=(4, 8), min_samples_leaf=(3,), learning_rates=(0.1,), max_features=(1.0,)
)
GRAPHS = {name: small_cnn(name, input_shape=(1, 8, 8), channels=(3, 3)) for name in ("relu", "tanh")}
ALL = AccuracyData(checkpoints="all")


def _zoo(folder: Path, *, other_test: bool = False, accuracies: bool = True) -> Zoo:
    """80 trainings with two checkpoints each, the more accurate the wider their weights are spread."""
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for base in range(80):
        graph = GRAPHS["relu" if base % 3 else "tanh"]
        split = ("train", "train", "validation", "test")[base % 4]
        for step in (1, 2):
            spread = generator.uniform(0.2, 2.0)
            weights = (spread * generator.standard_normal(graph.num_parameters)).astype(np.float32)
            accuracy = 0.1 + 0.3 * spread
            if other_test and split == "test":
                weights, accuracy = -weights, None
            row = {
                "network_id": f"{base:05d}-{step}",
                "base_id": base,
                "spec_id": graph.graph_id,
                "split": split,
                "activation": graph.chain.layers[0].activation,
                "step": step,
                "clean_accuracy": accuracy if accuracies else None,
                "weights": weights,
            }
            rows.append(row)
    shard = write_shard(folder / "shard-00000.parquet", rows)
    graphs = {graph.graph_id: graph for graph in GRAPHS.values()}
    ZooInfo(graphs=graphs, recipe={}, versions={}, num_shards=1, shards=(shard,)).write(folder)
    return Zoo.open(folder)


def test_it_orders_what_statistics_can_order(tmp_path: Path) -> None:
    zoo = _zoo(tmp_path)
    regressor, test = StatNNRegressor.fit(zoo, ALL, FEW), zoo.split("test")
    predicted = np.empty(len(test))
    for networks, places in test.batches_by_graph():
        predicted[places] = regressor.predict(networks).numpy()
    assert kendalltau(predicted, test.column("clean_accuracy")).statistic > 0.7
    assert ((predicted >= 0) & (predicted <= 1)).all()
    assert np.abs(predicted - test.column("clean_accuracy")).mean() < 0.1


def test_validation_chooses_size_and_number_of_the_trees(tmp_path: Path) -> None:
    zoo = _zoo(tmp_path)
    chosen = StatNNRegressor.fit(zoo, ALL, FEW)
    single = [
        StatNNRegressor.fit(zoo, ALL, StatNNRegressorConfig(**{**vars(FEW), "max_leaf_nodes": (leaves,)}))
        for leaves in FEW.max_leaf_nodes
    ]
    assert chosen.validation_tau == max(one.validation_tau for one in single)
    assert 1 <= chosen.num_trees <= 40
    validation = zoo.split("validation")
    batches = validation.batches_by_graph()
    predicted = torch.cat([chosen.predict(networks) for networks, _ in batches]).numpy()
    true = np.concatenate([validation.column("clean_accuracy")[places] for _, places in batches])
    assert kendalltau(predicted, true).statistic == pytest.approx(chosen.validation_tau, abs=0.01)


def test_only_the_networks_asked_for_are_used(tmp_path: Path) -> None:
    zoo = _zoo(tmp_path)
    last, every, tanh = (
        StatNNRegressor.fit(zoo, data, FEW) for data in (None, ALL, AccuracyData(activations=("tanh",)))
    )
    assert len({one.validation_tau for one in (last, every, tanh)}) == 3


def test_test_networks_do_not_change_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (StatNNRegressor.fit(_zoo(tmp_path / name, other_test=name == "b"), ALL, FEW) for name in "ab")
    networks = [batch for batch, _ in Zoo.open(tmp_path / "a").batches_by_graph()]
    assert first.validation_tau == second.validation_tau
    assert torch.equal(first.predict(networks), second.predict(networks))


def test_zoos_and_networks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="have no clean_accuracy"):
        StatNNRegressor.fit(_zoo(tmp_path, accuracies=False), ALL, FEW)
    graph = mlp((4, 3, 2))
    regressor = StatNNRegressor.fit(_zoo(tmp_path), ALL, FEW)
    with pytest.raises(ZoovetError, match="they have another number of layers"):
        regressor.predict(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_trees": 0}, "num_trees must be at least 1, got 0"),
        ({"max_leaf_nodes": ()}, "max_leaf_nodes must list at least one value"),
        ({"max_leaf_nodes": (1,)}, "max_leaf_nodes must be at least 2"),
        ({"min_samples_leaf": (0,)}, "min_samples_leaf at least 1"),
        ({"learning_rates": (0.0,)}, "learning_rates must be above 0"),
        ({"max_features": (1.5,)}, "at most 1, got"),
    ],
)
def test_wrong_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        StatNNRegressorConfig(**options)
