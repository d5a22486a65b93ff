"""A recipe fits a network and images: of which kind, how large images are, what cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoovet.errors import ZoovetError
from zoovet.images.sources import ImageSource, load_source
from zoovet.networks import ZOO_SCALING, Networks, small_cnn
from zoovet.readers import save_networks
from zoovet.zoo import ParkRecipe, TrojanRecipe
from zoovet.zoo.fitting_recipe import MeasuredBase, fitting_recipe, measured_base, with_measured_floor
from zoovet.zoo.park.families import GivenFamily

DIGITS = ImageSource(source="digits")
NET = "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"


@pytest.fixture
def small(tmp_path: Path) -> str:
    graph = replace(small_cnn("tanh", input_shape=(1, 8, 8), channels=(4, 6)), input_scaling=ZOO_SCALING)
    save_networks(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)), tmp_path / "net.safetensors")
    return str(tmp_path / "net.safetensors")


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "my_net.py").write_text(NET)
    return f"{tmp_path}/my_net.py:make"


def photos(folder: Path, num_classes: int, side: int = 12) -> ImageSource:
    for place in range(num_classes * 10):
        target = folder / f"class {place % num_classes}"
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((side, side, 3), place, np.uint8)).save(target / f"{place}.png")
    return ImageSource(source=str(folder))


def test_a_small_cnn_becomes_a_trojan_zoo(small: str) -> None:
    recipe = fitting_recipe(small, DIGITS, num_bases=30)
    assert isinstance(recipe, TrojanRecipe)
    assert (recipe.channels, recipe.activations, recipe.num_bases) == ((4, 6), ("tanh",), 30)
    assert recipe.images == DIGITS
    assert recipe.min_clean_accuracy == pytest.approx(0.235, abs=0.006)


def test_any_other_becomes_a_park_of_its_one_architecture(own: str) -> None:
    recipe = fitting_recipe(own, DIGITS, num_bases=40, seed=5)
    assert isinstance(recipe, ParkRecipe)
    assert recipe.architectures == (GivenFamily(source=own),)
    assert recipe.images[0].images == DIGITS
    shapes = {load_source(block.images)[0].shape for block in recipe.images}
    assert (len(recipe.images), shapes) == (3, {(1, 8, 8)})  # a detector for strangers leaves image sets out in turn
    assert (recipe.num_bases, recipe.seed) == (40, 5)


def test_images_are_brought_to_what_the_network_reads(small: str, tmp_path: Path) -> None:
    recipe = fitting_recipe(small, photos(tmp_path / "photos", 10))
    assert isinstance(recipe, TrojanRecipe)
    assert recipe.images is not None
    assert (recipe.images.size, recipe.images.color) == ((8, 8), "gray")


def test_what_does_not_fit_is_refused(small: str, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"net.safetensors tells 10 classes apart, the images have 12"):
        fitting_recipe(small, photos(tmp_path / "many", 12))
    with pytest.raises(ZoovetError, match="images of one class"):
        fitting_recipe(small, photos(tmp_path / "one", 1))
    (tmp_path / "bad.py").write_text("def make():\n    raise ValueError('no such net')\n")
    with pytest.raises(ZoovetError, match="no such net"):
        fitting_recipe(f"{tmp_path}/bad.py:make", DIGITS)


def test_one_base_says_time_and_floor(own: str) -> None:
    recipe = fitting_recipe(own, DIGITS, num_bases=8)
    base = measured_base(recipe, None)
    assert base.seconds > 0
    assert base.clean_accuracy >= 0.23
    assert base.asr >= 0.5
    found = with_measured_floor(recipe, base)
    assert isinstance(found, ParkRecipe)
    assert found.images[0].min_clean_accuracy == round(0.8 * base.clean_accuracy, 2)
    assert MeasuredBase(36.0, 0.9, 0.9, 10).hours(200, 2) == pytest.approx(1.0)
