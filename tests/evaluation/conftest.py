"""Made-up results with figures known by hand, and a small zoo on the digits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from zoovet.evaluation.examples import ImageExample, NetworkExamples
from zoovet.evaluation.figures import headline_figures
from zoovet.evaluation.measured import Measured
from zoovet.evaluation.report import Provenance
from zoovet.evaluation.results import (
    ClassificationResults,
    ComparedModel,
    DetectionResults,
    EditingResults,
    GeneralizationResults,
    RepairResults,
)
from zoovet.evaluation.zoo_summary import TrojanZooSummary
from zoovet.images import PatchRanges, draw_trigger, load_dataset
from zoovet.networks import Networks, siren, small_cnn
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


def _models(*names):
    known = {
        "scalegmn": ComparedModel(
            key="scalegmn", name="ScaleGMN-B", num_parameters=12_345, training_seconds=754.0, run="runs/gmn"
        ),
        "permutation": ComparedModel(key="permutation", name="permutation only", num_parameters=9_876),
        "statnn": ComparedModel(key="statnn", name="StatNN", training_seconds=3.0),
    }
    return tuple(known[name] for name in names)


@pytest.fixture(scope="session")
def classification():
    """Eight INRs of six images in three classes: ScaleGMN is right on six, permutation only on four."""
    return ClassificationResults(
        dataset="shapes",
        network_ids=tuple(f"{place:05d}-0" for place in range(8)),
        base_ids=[0, 0, 1, 1, 2, 3, 4, 5],
        labels=[0, 0, 1, 1, 2, 2, 0, 1],
        class_names=("disc", "square", "cross"),
        models=_models("scalegmn", "permutation"),
        predictions={"scalegmn": [0, 0, 1, 2, 2, 2, 0, 0], "permutation": [0, 1, 1, 2, 2, 1, 0, 0]},
    )


@pytest.fixture(scope="session")
def editing():
    """Four INRs: doing nothing leaves 0.04 on average, ScaleGMN 0.01, permutation only 0.03."""
    return EditingResults(
        dataset="shapes",
        edit="dilation",
        network_ids=tuple(f"{place:05d}-0" for place in range(4)),
        base_ids=[0, 1, 2, 3],
        models=_models("scalegmn", "permutation"),
        mse={"scalegmn": [0.005, 0.01, 0.01, 0.015], "permutation": [0.02, 0.03, 0.03, 0.04]},
        mse_of_nothing=[0.02, 0.04, 0.04, 0.06],
    )


@pytest.fixture(scope="session")
def generalization():
    """Three trainings with two checkpoints each; of 15 pairs ScaleGMN orders all rightly, StatNN 13."""
    return GeneralizationResults(
        dataset="shapes",
        network_ids=tuple(f"{place // 2:05d}-{place % 2:05d}" for place in range(6)),
        base_ids=[0, 0, 1, 1, 2, 2],
        activations=("relu",) * 2 + ("tanh",) * 4,
        accuracies=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        models=_models("scalegmn", "statnn"),
        predictions={
            "scalegmn": [0.1, 0.2, 0.3, 0.4, 0.5, 0.7],
            "statnn": [0.2, 0.1, 0.3, 0.4, 0.6, 0.5],
        },
    )


@pytest.fixture(scope="session")
def figures(detection, repair):
    return headline_figures(
        Measured(detection=detection, repair=repair), seed=3, wall_time_seconds=425.04, num_resamples=50
    )


@pytest.fixture(scope="session")
def zoo_summary():
    poisoned = np.tile([False, True], 10)
    return TrojanZooSummary(
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
        wanted=8,
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
    graphs = {name: small_cnn(name, input_shape=(1, 8, 8), channels=(4, 4)) for name in ("relu", "tanh")}
    generator = np.random.default_rng(0)
    rows = []
    for base in range(6):
        activation = ("relu", "tanh")[base % 2]
        trigger = draw_trigger(PatchRanges(min_size=2, max_size=3), (1, 8, 8), 10, generator)
        for kind in ("healthy", "trojaned"):
            flat = generator.normal(scale=0.5 if kind == "healthy" else 0.7, size=graphs[activation].num_parameters)
            rows.append(_row(base, kind, graphs[activation], activation, trigger, flat.astype(np.float32), digits))
    shard = write_shard(folder / "shard-00000.parquet", rows)
    ZooInfo(
        graphs={graph.graph_id: graph for graph in graphs.values()},
        recipe={"dataset": "digits", "min_asr": 0.5, "test_images": 0},
        versions={},
        num_shards=1,
        shards=(shard,),
    ).write(folder)
    return Zoo.open(folder)


def _row(base, kind, graph, activation, trigger, flat, images):
    network = Networks.from_flat(graph, torch.from_numpy(flat)[None])
    figures = measure(network, [trigger], images.scaled(), images.labels)
    return {
        "network_id": f"{base:05d}-{kind}",
        "base_id": base,
        "spec_id": graph.graph_id,
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


@pytest.fixture(scope="session")
def inr_zoo(tmp_path_factory):
    """Eight random SIRENs "of" training digits, the last four of them test networks."""
    folder = tmp_path_factory.mktemp("inr-zoo")
    graph, images = siren((2, 6, 1)), load_dataset("digits", "train")
    generator = np.random.default_rng(0)
    rows = [
        {
            "network_id": f"{image:05d}-0",
            "base_id": image,
            "spec_id": graph.graph_id,
            "split": "test" if place >= 4 else "train",
            "dataset": "digits",
            "image_index": image,
            "copy": 0,
            "label": int(images.labels[image]),
            "activation": "sine",
            "psnr": 20.0 + place,
            "weights": generator.normal(scale=0.3, size=graph.num_parameters).astype(np.float32),
        }
        for place, image in enumerate(range(10, 18))
    ]
    return _written(folder, graph, rows, {"kind": "inr", "dataset": "digits", "image_splits": ["train"]})


@pytest.fixture(scope="session")
def accuracy_zoo(tmp_path_factory):
    """Six random CNNs: three trainings with two checkpoints each, the last training's are test networks."""
    folder = tmp_path_factory.mktemp("accuracy-zoo")
    graph, generator = small_cnn("relu", input_shape=(1, 8, 8), channels=(4, 4)), np.random.default_rng(0)
    rows = [
        {
            "network_id": f"{base:05d}-{step:05d}",
            "base_id": base,
            "spec_id": graph.graph_id,
            "split": ("train", "validation", "test")[base],
            "dataset": "digits",
            "activation": "relu",
            "step": step,
            "clean_accuracy": 0.1 * (base + 1) + 0.001 * step,
            "weights": generator.normal(scale=0.3, size=graph.num_parameters).astype(np.float32),
        }
        for base in range(3)
        for step in (10, 20)
    ]
    return _written(folder, graph, rows, {"kind": "generalization", "dataset": "digits"})


def _written(folder, graph, rows, recipe):
    shard = write_shard(folder / "shard-00000.parquet", rows)
    info = ZooInfo(graphs={graph.graph_id: graph}, recipe=recipe, versions={}, num_shards=1, shards=(shard,))
    info.write(folder)
    return Zoo.open(folder)
