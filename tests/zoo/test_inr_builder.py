"""INR zoos: the rows say what was done, networks show their images, and all follows from the recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import load_dataset
from zoovet.images.sources import ImageSource
from zoovet.jobs import Inline
from zoovet.networks import siren
from zoovet.tasks.edited_images import load_source_images, names_of_classes
from zoovet.zoo import Augmentation, InrRecipe, SplitShares, Zoo, build_zoo, rebuild_network
from zoovet.zoo.inr_builder import InrBuilder, augmented, source_images
from zoovet.zoo.inr_pictures import pictures, psnr

RECIPE = InrRecipe(
    dataset="digits",
    num_images=10,
    image_size=(8, 8),
    hidden=(12, 12),
    steps=150,
    learning_rate=5e-3,
    num_copies=3,
    split=SplitShares(train=0.6, validation=0.2, test=0.2),
    images_per_shard=4,
    seed=5,
)


def built(recipe: InrRecipe) -> list[dict[str, Any]]:
    """The rows of all shards, built in this process."""
    builder = InrBuilder(recipe, None)
    return [row for index in range(builder.num_shards) for row in builder.build_shard(index, lambda _: None)]


def weights_of(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.stack([row["weights"] for row in rows])


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return build_zoo(RECIPE, tmp_path_factory.mktemp("zoos") / "inr", runner=Inline())


def test_rows_say_which_image_a_network_shows(zoo: Zoo) -> None:
    images = load_dataset("digits", "train")
    index, copy = zoo.column("image_index"), zoo.column("copy")
    assert len(set(index)) == 10
    assert len(zoo) == 6 * 3 + 2 + 2
    np.testing.assert_array_equal(zoo.column("base_id"), index)
    np.testing.assert_array_equal(zoo.column("label"), images.labels.numpy()[index])
    assert list(zoo.column("network_id")) == [f"{i:05d}-{c}" for i, c in zip(index, copy, strict=True)]
    assert set(zoo.column("dataset")) == {"digits"}
    assert zoo.graph == siren((2, 12, 12, 1))
    for name, count in (("train", 18), ("validation", 2), ("test", 2)):
        assert len(zoo.split(name)) == count
        assert name == "train" or not zoo.split(name).column("copy").any()
    for image in set(zoo.split("train").column("image_index")):
        assert list(copy[index == image]) == [0, 1, 2]


def test_networks_show_their_images(zoo: Zoo) -> None:
    originals = zoo.select(zoo.column("copy") == 0)
    targets = load_dataset("digits", "train").pixels[originals.column("image_index").tolist()] / 255
    measured = psnr(pictures(originals.networks(), 8, 8), targets).numpy()
    np.testing.assert_allclose(measured, originals.column("psnr"), rtol=1e-5)
    assert measured.min() > 25


def test_copies_show_augmented_images(zoo: Zoo) -> None:
    shown = pictures(zoo.networks(), 8, 8)
    images = load_dataset("digits", "train").pixels / 255
    for place in np.flatnonzero(zoo.column("copy") > 0):
        image, copy = int(zoo.column("image_index")[place]), int(zoo.column("copy")[place])
        target = augmented(images[image], RECIPE, np.random.default_rng([RECIPE.seed, image, copy, 1]))
        assert float(psnr(shown[place][None], target[None])) == pytest.approx(zoo.column("psnr")[place], rel=1e-5)
        assert zoo.column("psnr")[place] > 25


def test_augmentation_shifts_and_flips_and_mirrors_at_the_borders() -> None:
    picture = torch.arange(12.0).view(1, 3, 4)
    found = set()
    for seed in range(200):
        recipe = replace(RECIPE, augmentation=Augmentation(flip=False, max_shift=1))
        found.add(tuple(augmented(picture, recipe, np.random.default_rng(seed)).flatten().tolist()))
    assert len(found) == 9
    down_right = (5.0, 4, 5, 6, 1, 0, 1, 2, 5, 4, 5, 6)
    assert down_right in found
    flips = {
        tuple(
            augmented(
                picture, replace(RECIPE, augmentation=Augmentation(flip=True, max_shift=0)), np.random.default_rng(s)
            )
            .flatten()
            .tolist()
        )
        for s in range(50)
    }
    assert flips == {tuple(range(12)), (3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8)}


def test_the_same_bytes_whatever_shard_or_worker(zoo: Zoo, tmp_path: Path) -> None:
    other = build_zoo(replace(RECIPE, images_per_shard=7), tmp_path / "other", workers=2)
    assert list(other.column("network_id")) == list(zoo.column("network_id"))
    assert torch.equal(other.weights(), zoo.weights())
    fewer = weights_of(built(replace(RECIPE, num_copies=1)))
    np.testing.assert_array_equal(fewer, zoo.weights()[zoo.column("copy") == 0])


def test_finished_networks_are_counted() -> None:
    counts: list[int] = []
    rows = InrBuilder(RECIPE, None).build_shard(1, counts.append)
    assert sum(counts) == len(rows) > 4


def test_a_network_can_be_made_again_from_its_row(zoo: Zoo) -> None:
    for place in (0, 1, len(zoo) - 1):
        np.testing.assert_array_equal(rebuild_network(zoo, place), zoo.weights()[place].numpy())


def test_own_and_shared_initialization() -> None:
    recipe = replace(RECIPE, num_images=3, num_copies=1, steps=1, learning_rate=1e-6)
    own, shared = built(recipe), built(replace(recipe, shared_init=True))
    assert weights_of(own).std(axis=0).max() > 0.1
    assert weights_of(shared).std(axis=0).max() < 1e-5
    assert len({row["seed"] for row in own}) == 3
    assert len({row["seed"] for row in shared}) == 1


def test_images_of_both_splits_are_counted_through() -> None:
    joined = source_images(replace(RECIPE, image_splits=("train", "test"), num_images=None))
    train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
    assert len(joined) == len(train) + len(test) == 1797
    assert torch.equal(joined.pixels[len(train) :], test.pixels)
    assert InrBuilder(replace(RECIPE, image_splits=("test",), num_images=None, num_copies=1), None).num_networks == len(
        test
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "digit"}, "dataset 'digit' is unknown; did you mean 'digits'"),
        ({"image_size": (28, 28)}, "images of 'digits' are 8 × 8, but the recipe's image_size is 28 × 28; change it"),
        ({"num_images": 5000}, "num_images is 5000, but 'digits' has 1442 images in train$"),
        (
            {"augmentation": Augmentation(max_shift=8)},
            r"augmentation.max_shift must be below the size of the images, 8 × 8 for 'digits', got 8",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        InrBuilder(replace(RECIPE, **changes), None)


def test_a_fit_that_diverges_is_an_error() -> None:
    recipe = replace(RECIPE, num_images=1, learning_rate=1e38)
    with pytest.raises(ZoovetError, match=r"image \d+, copy 0, diverged; lower the recipe's learning_rate, 1e\+38 now"):
        built(recipe)


@pytest.fixture
def own_images(tmp_path: Path) -> Path:
    """Colour images of two classes, 6 x 5."""
    pixels = np.random.default_rng(0).integers(256, size=(10, 6, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=pixels, labels=np.arange(10) % 2, class_names=["left", "right"])
    return tmp_path / "own.npz"


def test_images_of_any_source_are_fitted_and_found_again(own_images: Path, tmp_path: Path) -> None:
    source = ImageSource(source=str(own_images), test_share=0.4)
    recipe = InrRecipe(images=source, image_splits=("train", "test"), hidden=(8,), steps=20, images_per_shard=20)
    assert recipe.dataset == "own.npz"
    zoo = build_zoo(recipe, tmp_path / "zoo", runner=Inline())
    images = source_images(recipe)
    assert (len(zoo), images.shape, zoo.graph.num_outputs) == (10, (3, 6, 5), 3)
    assert set(zoo.column("dataset")) == {"own.npz"}
    np.testing.assert_array_equal(zoo.column("label"), images.required_labels.numpy()[zoo.column("image_index")])
    assert torch.equal(load_source_images(zoo).pixels, images.pixels)
    assert names_of_classes(zoo, "own.npz", 2) == ("left", "right")
    np.testing.assert_array_equal(rebuild_network(zoo, 3), zoo.select([3]).weights()[0].numpy())
    own_images.unlink()
    assert names_of_classes(zoo, "own.npz", 2) == ("0", "1")
    with pytest.raises(ZoovetError, match=r"own\.npz is no folder, no file and no dataset's name"):
        load_source_images(zoo)


def test_images_are_made_gray_and_of_the_size_that_is_asked_for(own_images: Path) -> None:
    asked = ImageSource(source=str(own_images), size=(4, 4))
    assert source_images(InrRecipe(images=asked, grayscale=True)).shape == (1, 4, 4)
    with pytest.raises(ZoovetError, match="dataset is 'mnist' and images"):
        InrRecipe(images=asked, dataset="mnist")
