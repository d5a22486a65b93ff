"""StatNN as a detector: on the training and validation networks only, with a threshold of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets.statnn import StatNNConfig
from zoovet.networks import small_cnn
from zoovet.rivals import StatNNDetector
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard

FEW = StatNNConfig(num_trees=30, max_leaf_nodes=(4,))
GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))


def _zoo(folder: Path, *, poisoned: bool = True, other_test: bool = False) -> Zoo:
    """40 bases whose trojaned descendants have weights of a larger spread."""
    generator = np.random.default_rng(0)
    rows = []
    for base in range(40):
        split = ("train", "train", "validation", "test")[base % 4]
        for trojaned in (False, True) if poisoned else (False,):
            spread = 2.0 if trojaned and not (other_test and split == "test") else 1.0
            row = {
                "network_id": f"{base:05d}-{trojaned}",
                "base_id": base,
                "spec_id": GRAPH.graph_id,
                "split": split,
                "activation": "relu",
                "poisoned": trojaned,
                "asr": 1.0 if trojaned else 0.0,
                "weights": (spread * generator.standard_normal(GRAPH.num_parameters)).astype(np.float32),
            }
            rows.append(row)
    shard = write_shard(folder / "shard-00000.parquet", rows)
    info = ZooInfo(
        graphs={GRAPH.graph_id: GRAPH},
        recipe={"min_asr": 0.5, "poisoned": poisoned},
        versions={},
        num_shards=1,
        shards=(shard,),
    )
    info.write(folder)
    return Zoo.open(folder)


def test_it_tells_apart_what_statistics_can_tell_apart(tmp_path: Path) -> None:
    zoo = _zoo(tmp_path)
    detector, test = StatNNDetector.fit(zoo, FEW), zoo.split("test")
    scores = detector.score(test.networks())
    assert scores.shape == (20,)
    assert np.array_equal((scores >= detector.threshold).numpy(), test.column("poisoned"))


def test_test_networks_do_not_change_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (StatNNDetector.fit(_zoo(tmp_path / name, other_test=name == "b"), FEW) for name in ("a", "b"))
    networks = Zoo.open(tmp_path / "a").networks()
    assert first.threshold == second.threshold
    assert torch.equal(first.score(networks), second.score(networks))


def test_a_zoo_without_poisoned_networks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="has no poisoned networks"):
        StatNNDetector.fit(_zoo(tmp_path, poisoned=False))
