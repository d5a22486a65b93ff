"""A zoo small enough to train on in seconds: made-up networks on the digits, written and opened like any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.images import Images, PatchTrigger, load_dataset
from zoovet.networks import Networks, small_cnn
from zoovet.tasks import TrainingConfig
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard

GRAPHS = {name: small_cnn(name, input_shape=(1, 8, 8), channels=(3, 2)) for name in ("relu", "tanh")}
"""2 convolutions, 3 and 2 channels, 10 classes."""

SPLITS = ("train", "train", "train", "validation", "test")
"""Splits of the bases, over and over."""


def made_up_row(base: int, poisoned: bool, asr: float) -> dict[str, Any]:
    """A row of a zoo; a trojaned network's last bias is higher by 0.6, so that there is something to learn."""
    generator = np.random.default_rng([base, poisoned])
    activation = "relu" if base % 2 == 0 else "tanh"
    graph = GRAPHS[activation]
    flat = np.random.default_rng(base).normal(0, 0.5, graph.num_parameters)
    flat += generator.normal(0, 0.02, graph.num_parameters)
    flat[-graph.num_outputs :] += 0.6 * poisoned
    trigger = PatchTrigger.of_size("white", 2, row=base % 6, col=base % 5, target=base % 10)
    return {
        "network_id": f"{base:05d}-{'trojaned' if poisoned else 'healthy'}",
        "base_id": base,
        "spec_id": graph.graph_id,
        "split": SPLITS[base % len(SPLITS)],
        "activation": activation,
        "init": "he",
        "optimizer": "adam",
        "poisoned": poisoned,
        "trigger": json.dumps(trigger.to_json()),
        "target": trigger.target,
        "asr": asr if poisoned else 0.05,
        "weights": flat.astype(np.float32),
    }


@pytest.fixture(scope="session")
def make_zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Zoo]:
    """Write a zoo and open it.

    ``asr`` gives the ASR of each base's trojaned network (``None``: it has none); ``change`` may change a row in place.
    """

    def make(
        num_bases: int = 20,
        asr: Callable[[int], float | None] = lambda _: 0.9,
        change: Callable[[dict[str, Any]], None] = lambda _: None,
        **recipe: Any,
    ) -> Zoo:
        folder = tmp_path_factory.mktemp("zoo")
        rows = []
        for base in range(num_bases):
            rows.append(made_up_row(base, False, 0.0))
            if (rate := asr(base)) is not None:
                rows.append(made_up_row(base, True, rate))
        for row in rows:
            change(row)
        shard = write_shard(folder / "shard-00000.parquet", rows)
        graphs = {graph.graph_id: graph for graph in GRAPHS.values()}
        info = ZooInfo(graphs=graphs, recipe={"min_asr": 0.5, **recipe}, versions={}, num_shards=1, shards=(shard,))
        info.write(folder)
        return Zoo.open(folder)

    return make


@pytest.fixture(scope="session")
def zoo(make_zoo: Callable[..., Zoo]) -> Zoo:
    """20 bases: 12 to train, 4 to validate, 4 to test; half ReLU, half tanh."""
    return make_zoo()


@pytest.fixture(scope="session")
def images() -> Images:
    """Training images that the zoo's networks can read."""
    return load_dataset("digits", "train")


@pytest.fixture
def training() -> Callable[..., TrainingConfig]:
    """A training of six steps, validated after every second; options change it."""
    defaults: dict[str, Any] = {"max_steps": 6, "validation_interval": 2, "batch_size": 6, "warmup_steps": 2}
    return lambda **options: TrainingConfig(**(defaults | options))


@pytest.fixture
def suspects() -> list[Networks]:
    """Three ReLU and two tanh networks that no zoo holds."""
    generator = torch.Generator().manual_seed(5)
    return [
        Networks.from_flat(GRAPHS[name], torch.randn(count, GRAPHS[name].num_parameters, generator=generator) * 0.5)
        for name, count in (("relu", 3), ("tanh", 2))
    ]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "run"
