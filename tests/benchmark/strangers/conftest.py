"""A park of two image sets, two families and two recipes whose networks nobody trained, and a benchmark of seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from zoovet.benchmark.strangers import (
    OtherImages,
    StrangerBenchmarkConfig,
    StrangerResults,
    opened_park,
    run_stranger_benchmark,
    write_stranger_benchmark,
)
from zoovet.config import config_to_dict
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig, Evidence, RunnableGraphs, class_evidence
from zoovet.images.sources import ImageSource
from zoovet.networks import ZOO_SCALING, Graph, small_cnn
from zoovet.tasks.strangers import park_evidence
from zoovet.tasks.strangers.config import ReaderTraining
from zoovet.zoo import ImageBlock, ParkRecipe
from zoovet.zoo.store import ZooInfo, write_shard

SETS = ("digits", "odd/set|of digits")
NUM_BASES = 12


def small_graph() -> Graph:
    return small_cnn("relu", input_shape=(1, 8, 8), channels=(3,)).reading(ZOO_SCALING)


def write_park(folder: Path, *, num_sets: int = 2, test_bases: int = 4) -> Path:
    """Twelve bases of two networks each: random weights; a trojaned one prefers its target."""
    graph, rows = small_graph(), []
    sets = SETS[:num_sets]
    for base in range(NUM_BASES):
        for name in ("healthy", "trojaned"):
            poisoned = name == "trojaned"
            weights = np.random.default_rng([base, poisoned]).normal(0, 0.4, graph.num_parameters).astype(np.float32)
            rows.append(
                {
                    "network_id": f"{base:05d}-{name}",
                    "base_id": base,
                    "spec_id": graph.graph_id,
                    "split": "test" if base >= NUM_BASES - test_bases else ("train", "validation")[base // 4 % 2],
                    "dataset": sets[base % len(sets)],
                    "family": ("plain", "mlp")[base // 2 % 2],
                    "optimizer": "sgd",
                    "augmentation": ("none", "flip")[base // 2 % 2],
                    "attack": "patch",
                    "poisoned": poisoned,
                    "target": base % 10,
                    "asr": (0.1 if base == 1 else 0.9) if poisoned else 0.05,
                    "weights": weights,
                }
            )
    folder.mkdir()
    shard = write_shard(folder / "shard-00000.parquet", rows)
    blocks = tuple(ImageBlock(name=name, images=ImageSource(source="digits")) for name in sets)
    recipe = config_to_dict(ParkRecipe(images=blocks, num_bases=NUM_BASES))
    ZooInfo(graphs={graph.graph_id: graph}, recipe=recipe, versions={}, num_shards=1, shards=(shard,)).write(folder)
    return folder


@pytest.fixture(scope="session")
def park(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_park(tmp_path_factory.mktemp("park") / "zoo")


class PlayedEvidence:
    """Evidence without its searches: that of one network, with noise that follows from the network's weights.

    Attributes:
        shown: The images and labels of each call.
    """

    def __init__(self) -> None:
        self.shown: list[tuple[Tensor | None, Tensor | None]] = []
        self._found: ClassEvidence | None = None

    def __call__(
        self, network: RunnableGraphs, images: Tensor | None, labels: Tensor | None, config: ClassEvidenceConfig
    ) -> ClassEvidence:
        self.shown.append((images, labels))
        if self._found is None:
            self._found = class_evidence(network, images, labels, config)
        seed = int(network.logits(torch.ones(1, *network.input_shape)).abs().sum() * 1e6)
        generator = torch.Generator().manual_seed(seed)
        classes = {
            name: values + 0.3 * torch.rand(values.shape, generator=generator)
            for name, values in self._found.evidence.classes.items()
        }
        return replace(self._found, evidence=Evidence(classes=classes))


def play(patch: pytest.MonkeyPatch) -> PlayedEvidence:
    """Networks are run without being compiled, and their evidence is played."""
    played = PlayedEvidence()
    patch.setattr(park_evidence, "fastest_runnable", RunnableGraphs)
    patch.setattr(park_evidence, "class_evidence", played)
    return played


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> PlayedEvidence:
    return play(monkeypatch)


@pytest.fixture(scope="session")
def config(park: Path) -> StrangerBenchmarkConfig:
    quick = ClassEvidenceConfig(
        patch_sizes=(0.3,),
        num_places=2,
        pixel_factors=(),
        change_factors=(0.5,),
        smooth_factors=(),
        warp_factors=(),
        stripe_amplitudes=(),
        usual_patch_sizes=(),
        usual_blend_weights=(),
        num_steps=1,
        num_margin_steps=1,
        num_stripes=2,
        num_warps=2,
    )
    return StrangerBenchmarkConfig(
        zoo=park,
        left_out=("dataset",),
        images_per_class=2,
        other_images=(OtherImages(images_per_class=1, uses_labels=False),),
        rivals=("trojan_signature",),
        evidence=quick,
        training=ReaderTraining(num_members=1, num_steps=3),
    )


@pytest.fixture(scope="session")
def finished(config: StrangerBenchmarkConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A benchmark that was run, with its page, and what was told of it."""
    out, told = tmp_path_factory.mktemp("bench") / "out", list[str]()
    with pytest.MonkeyPatch.context() as patch:
        play(patch)
        run_stranger_benchmark(config, out, data_root=None, tell=told.append)
    write_stranger_benchmark(StrangerResults.read(config, out, opened_park(config)), "zoovet bench x --out y")
    return out, told


@pytest.fixture(scope="session", name="write_park")
def write_park_fixture() -> Callable[..., Path]:
    """Writes parks."""
    return write_park
