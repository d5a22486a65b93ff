"""A small zoo of three families of attacks, and a benchmark that takes seconds."""

from __future__ import annotations

from typing import Any

import pytest

from zoovet.benchmark import BenchmarkConfig
from zoovet.evidence import InversionConfig
from zoovet.images import PatchRanges, StripeRanges
from zoovet.jobs import Inline
from zoovet.metanets import ScaleGMNConfig
from zoovet.tasks import DetectionConfig, RepairConfig
from zoovet.tasks.training_config import TrainingConfig
from zoovet.zoo import (
    BaseTraining,
    BlendAttack,
    FineTuning,
    PatchAttack,
    SplitShares,
    StripeAttack,
    TrojanRecipe,
    Zoo,
    build_zoo,
)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    recipe = TrojanRecipe(
        dataset="digits",
        num_bases=18,
        activations=("tanh",),
        channels=(8, 8),
        train_images=400,
        test_images=100,
        base=BaseTraining(epochs=3),
        finetune=FineTuning(epochs=(1, 2), learning_rate=(3e-3, 1e-2)),
        attacks=(
            PatchAttack(trigger=PatchRanges(min_size=2, max_size=3, min_weight=0.8)),
            BlendAttack(),
            StripeAttack(trigger=StripeRanges(min_amplitude=0.5, max_amplitude=0.9)),
        ),
        min_clean_accuracy=0.2,
        min_asr=0.1,
        split=SplitShares(train=0.4, validation=0.3, test=0.3),
        seed=5,
    )
    return build_zoo(recipe, tmp_path_factory.mktemp("zoos") / "digits-trojan", runner=Inline())


def small_scalegmn(**changes: Any) -> ScaleGMNConfig:
    return ScaleGMNConfig(width=8, num_layers=1, max_depth=2, max_outputs=10, **changes)


@pytest.fixture(scope="session")
def config(zoo: Zoo) -> BenchmarkConfig:
    training = TrainingConfig(max_steps=2, batch_size=4, validation_interval=1, warmup_steps=1)
    return BenchmarkConfig(
        zoos=(zoo.path,),
        seeds=(0, 1),
        detectors=("scalegmn", "statnn"),
        repairers=("none", "scalegmn", "clp", "healthy_sibling"),
        sizes=(4,),
        min_asr=0.1,
        num_clean_images=20,
        num_images=50,
        detection=DetectionConfig(
            metanetwork=small_scalegmn(inversion=InversionConfig(patch_size=2, num_backgrounds=1, num_steps=1)),
            training=training,
        ),
        repair=RepairConfig(metanetwork=small_scalegmn(output="weights"), training=training, num_validation_images=20),
    )
