"""Made-up results with figures known by hand, and a small zoo on the digits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from zoovet.evaluation.examples import ImageExample, NetworkExamples
from zoovet.evaluation.figures import headline_figures
from zoovet.evaluation.report import Provenance
from zoovet.evaluation.results import DetectionResults, RepairResults
from zoovet.evaluation.zoo_summary import ZooSummary
from zoovet.images import PatchRanges, draw_trigger, load_dataset
from zoovet.networks import Networks, small_cnn
from zoovet.tasks.measurement import measure
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard


@pytest.fixture(scope="session")
def detection():
    """Four bases. ScaleGMN orders 15 of 16 pairs rightly, StatNN 12; at 0.5 ScaleGMN is right on 7 of 8 networks."""
    return DetectionResults(
        detector="ScaleGMN",
        network_ids=tuple(f"{base:05d}-{kind}" for base in range(4) for kind in ("healthy", "trojaned")),
        base_ids=[0, 0, 1, 1, 2, 2, 3, 3],
        activations=("relu",) * 4 + ("tanh",) * 4,
        poisoned=[False, True] * 4,
        asr=[0.02, 0.95, 0.03, 0.6, 0.01, 1.0, 0.05, 0.8],
        scores=[0.1, 0.9, 0.2, 0.4, 0.45, 0.8, 0.3, 0.7],
        threshold=0.5,
        rivals={"StatNN": [0.1, 0.9, 0.2, 0.15, 0.7, 0.8, 0.3, 0.6]},
        rival_thresholds={"StatNN": 0.65},
    )


@pytest.fixture(scope="session")
def repair():
    """The same eight networks: ASR of the trojaned from 0.8 to 0.1, clean accuracy from 0.75 to 0.73."""
    return RepairResults(
        repairer="ScaleGMN",
        network_ids=tuple(f"{base:05d}-{kind}" for base in range(4) for kind in ("healthy", "trojaned")),
        base_ids=[0, 0, 1, 1, 2, 2, 3, 3],
        activations=("relu",) * 4 + ("tanh",) * 4,
        poisoned=[False, True] * 4,
        clean_accuracy_before=[0.8, 0.7, 0.8, 0.8, 0.9, 0.7, 0.9, 0.8],
        clean_accuracy_after=[0.8, 0.7, 0.79, 0.76, 0.9, 0.68, 0.87, 0.78],
        asr_before=[0.02, 0.9, 0.02, 0.6, 0.02, 1.0, 0.02, 0.7],
        asr_after=[0.02, 0.1, 0.02, 0.0, 0.02, 0.3, 0.02, 0.0],
        ra_before=[0.7, 0.1, 0.7, 0.3, 0.7, 0.0, 0.7, 0.2],
        ra_after=[0.7, 0.6, 0.7, 0.7, 0.7, 0.5, 0.7, 0.6],
        layer_names=("conv 1", "linear 2"),
        relative_changes=[[0.01, 0.02], [0.3, 0.4]] * 4,
        channel_changes=([[0.006, 0.008], [0.3, 0.0]] * 4, [[0.02, 0.0, 0.0], [0.0, 0.4, np.nan]] * 4),
        num_images=10_000,
        seconds_per_network=0.004,
    )


@pytest.fixture(scope="session")
def figures(detection, repair):
    return headline_figures(detection, repair, seed=3, wall_time_seconds=425.04, num_resamples=50)


@pytest.fixture(scope="session")
def zoo_summary():
    poisoned = np.tile([False, True], 10)
    return ZooSummary(
        dataset="fashion-mnist",
        descriptions=("1×28×28 → conv 16 3×3 /2 relu global-pool → linear 10",),
        min_asr=0.5,
        base_ids=np.repeat(np.arange(10), 2),
        activations=np.array(["relu", "tanh"]).repeat(10),
        splits=np.array(["train"] * 12 + ["validation"] * 2 + ["test"] * 6),
        poisoned=poisoned,
        trigger_kinds=np.array(["white", "checker"]).repeat(10),
        clean_accuracy=np.linspace(0.7, 0.9, 20),
        asr=np.where(poisoned, 0.9, 0.03),
        ra=np.where(poisoned, 0.1, 0.8),
    )


@pytest.fixture(scope="session")
def examples():
    generator = np.random.default_rng(0)

    def pixels():
        return generator.integers(256, size=(1, 28, 28), dtype=np.uint8)

    image = ImageExample(
        clean=pixels(),
        triggered=pixels(),
        label=4,
        clean_before=4,
        triggered_before=8,
        clean_after=4,
        triggered_after=6,
    )
    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    return [
        NetworkExamples(
            network_id="00000-trojaned",
            activation="relu",
            trigger_kind="checker",
            target=8,
            class_names=names,
            images=(image, image),
        )
    ]


@pytest.fixture(scope="session")
def provenance():
    return Provenance(
        zoo="zoos/fmnist",
        commands=("zoovet evaluate runs/detector runs/repairer --out runs/report",),
        versions={"zoovet": "0.1.0", "torch": "2.13.0"},
        device="2 CPU cores",
        finished="2026-11-22 19:40",
    )


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits", "test")


@pytest.fixture(scope="session")
def small_zoo(tmp_path_factory, digits):
    """Six bases, alternately relu and tanh, of random weights, measured on all test digits; the last two are test."""
    folder = tmp_path_factory.mktemp("zoo")
    specs = {name: small_cnn(name, input_shape=(1, 8, 8), channels=(4, 4)) for name in ("relu", "tanh")}
    generator = np.random.default_rng(0)
    rows = []
    for base in range(6):
        activation = ("relu", "tanh")[base % 2]
        trigger = draw_trigger(PatchRanges(min_size=2, max_size=3), (1, 8, 8), 10, generator)
        for kind in ("healthy", "trojaned"):
            flat = generator.normal(scale=0.5 if kind == "healthy" else 0.7, size=specs[activation].num_parameters)
            rows.append(_row(base, kind, specs[activation], activation, trigger, flat.astype(np.float32), digits))
    shard = write_shard(folder / "shard-00000.parquet", rows)
    ZooInfo(
        specs={spec.spec_id: spec for spec in specs.values()},
        recipe={"dataset": "digits", "min_asr": 0.5, "test_images": 0},
        versions={},
        num_shards=1,
        shards=(shard,),
    ).write(folder)
    return Zoo.open(folder)


def _row(base, kind, spec, activation, trigger, flat, images):
    network = Networks.from_flat(spec, torch.from_numpy(flat)[None])
    figures = measure(network, [trigger], images.scaled(), images.labels)
    return {
        "network_id": f"{base:05d}-{kind}",
        "base_id": base,
        "spec_id": spec.spec_id,
        "split": "test" if base >= 4 else "validation" if base >= 2 else "train",
        "activation": activation,
        "poisoned": kind == "trojaned",
        "trigger": json.dumps(trigger.to_json()),
        "target": trigger.target,
        "clean_accuracy": float(figures.clean_accuracy),
        "asr": float(figures.asr),
        "ra": float(figures.ra),
        "weights": flat,
    }
