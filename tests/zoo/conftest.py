"""A recipe small enough to be built in a second or two."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoovet.images import PatchRanges
from zoovet.jobs import Inline
from zoovet.zoo import BaseTraining, FineTuning, SplitShares, TrojanRecipe, Zoo, build_zoo


@pytest.fixture(scope="session")
def tiny_recipe() -> TrojanRecipe:
    return TrojanRecipe(
        dataset="digits",
        num_bases=6,
        channels=(8, 8),
        train_images=400,
        test_images=100,
        base=BaseTraining(epochs=3),
        finetune=FineTuning(epochs=(1, 2), learning_rate=(3e-3, 1e-2)),
        trigger=PatchRanges(min_size=2, max_size=3, min_weight=0.8),
        min_clean_accuracy=0.2,
        min_asr=0.1,
        split=SplitShares(train=0.5, validation=0.17, test=0.33),
        bases_per_shard=2,
        seed=3,
    )


@pytest.fixture(scope="session")
def tiny_zoo(tiny_recipe: TrojanRecipe, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return build_zoo(tiny_recipe, tmp_path_factory.mktemp("zoos") / "tiny", runner=Inline())


@pytest.fixture
def zoo_copy(tiny_zoo: Zoo, tmp_path: Path) -> Path:
    """A copy of the tiny zoo's folder that a test may damage."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in tiny_zoo.path.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
