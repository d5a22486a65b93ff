"""A park of two tiny architectures on digits, and the zoo that is built of it once."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoovet.images import FixedPatchRanges
from zoovet.images.sources import ImageSource
from zoovet.jobs import Inline
from zoovet.zoo import Attackers, FixedPatchAttack, ImageBlock, ParkRecipe, ParkTraining, PatchAttack, Zoo, build_zoo
from zoovet.zoo.park.families import MlpFamily, PlainFamily


@pytest.fixture(scope="session")
def park_recipe() -> ParkRecipe:
    digits = ImageBlock(name="digits", images=ImageSource(source="digits"), min_clean_accuracy=0.3)
    colored = ImageBlock(
        name="colored digits", images=ImageSource(source="digits", color="rgb"), mirrored=True, min_clean_accuracy=0.3
    )
    return ParkRecipe(
        images=(digits, colored),
        architectures=(
            PlainFamily(variants=1, depth=(1, 1), width=(8, 8), pooling=("max",), hidden=(0, 0), head=("flatten",)),
            MlpFamily(variants=1, norm=("none",), depth=(1, 1), width=(16, 16)),
        ),
        training=ParkTraining(
            images=(300, 400),
            epochs=(3, 4),
            batch_size=(16,),
            tuning_epochs=(2, 3),
            adaptive_learning_rate=(5e-3, 1e-2),
        ),
        attacks=(
            FixedPatchAttack(trigger=FixedPatchRanges(min_size=3, max_size=3, max_margin=0)),
            PatchAttack(poison_rate=(0.2, 0.3)),
        ),
        attackers=Attackers(scratch_share=0.5, anchored_share=0.25),
        num_bases=5,
        round_bases=4,
        test_images=100,
        max_accuracy_loss=1.0,
        min_asr=0.2,
        bases_per_shard=2,
        seed=3,
    )


@pytest.fixture(scope="session")
def park(park_recipe: ParkRecipe, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return build_zoo(park_recipe, tmp_path_factory.mktemp("park") / "park", runner=Inline())


@pytest.fixture
def shards(park: Zoo) -> list[Path]:
    return sorted(park.path.glob("shard-*.parquet"))
