"""A small made-up zoo that rival detectors are fitted on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from zoovet.images import PatchTrigger, load_dataset, poison
from zoovet.networks import ZOO_SCALING, Networks, small_cnn
from zoovet.rivals import CleanImages
from zoovet.rivals.clean_images import tune
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard

GRAPHS = tuple(small_cnn(activation, input_shape=(1, 8, 8), channels=(3, 3)) for activation in ("relu", "tanh"))


@pytest.fixture(scope="session")
def make_zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Zoo]:
    """40 bases of two graphs of one shape; trojaned descendants have output biases that are higher by 20.

    ``other_test`` leaves that out in the test split; ``other_tanh`` gives the tanh networks another shape.
    """

    def make(*, other_test: bool = False, other_tanh: bool = False) -> Zoo:
        folder = tmp_path_factory.mktemp("zoo")
        generator = np.random.default_rng(0)
        relu, tanh = GRAPHS
        if other_tanh:
            tanh = small_cnn("tanh", input_shape=(1, 8, 8), channels=(4, 3))
        rows = []
        for base in range(40):
            split = ("train", "train", "validation", "test")[base % 4]
            graph = relu if base % 8 < 4 else tanh
            for trojaned in (False, True):
                flat = generator.standard_normal(graph.num_parameters)
                flat[-graph.num_outputs :] += 20.0 * trojaned * (not (other_test and split == "test"))
                rows.append(
                    {
                        "network_id": f"{base:05d}-{trojaned}",
                        "base_id": base,
                        "spec_id": graph.graph_id,
                        "split": split,
                        "poisoned": trojaned,
                        "asr": float(trojaned),
                        "weights": flat.astype(np.float32),
                    }
                )
        shard = write_shard(folder / "shard-00000.parquet", rows)
        graphs = {graph.graph_id: graph for graph in (relu, tanh)}
        ZooInfo(graphs=graphs, recipe={"min_asr": 0.5}, versions={}, num_shards=1, shards=(shard,)).write(folder)
        return Zoo.open(folder)

    return make


@pytest.fixture(scope="session")
def digit_networks() -> Networks:
    """A healthy and a trojaned classifier of digits, which a white square turns into 7."""
    digits = load_dataset("digits", "train")
    trigger = PatchTrigger.of_size("white", 2, row=0, col=0, target=7)
    poisoned = poison(digits, trigger, 0.15, np.random.default_rng(1))
    graph = small_cnn("relu", input_shape=(1, 8, 8), channels=(8, 8)).reading(ZOO_SCALING)
    numbers = torch.randn(1, graph.num_parameters, generator=torch.Generator().manual_seed(0))
    start = Networks.from_flat(graph, 0.2 * numbers)
    both = (CleanImages(digits.scaled(), digits.labels), CleanImages(poisoned.images, poisoned.labels))
    return Networks.concatenate(
        [tune(start, images, num_epochs=20, batch_size=64, learning_rate=0.01, seed=0) for images in both]
    )
