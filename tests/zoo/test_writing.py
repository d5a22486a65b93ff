"""Networks at hand become a zoo; what is not said of them is unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, small_cnn
from zoovet.zoo import Zoo, write_zoo
from zoovet.zoo.builders import images_of


def batch(activation: str, count: int) -> Networks:
    graph = small_cnn(activation, input_shape=(1, 8, 8), channels=(2,), num_classes=3)
    generator = torch.Generator().manual_seed(count)
    return Networks.from_flat(graph, torch.randn(count, graph.num_parameters, generator=generator))


def test_networks_of_several_graphs_and_what_is_known_of_them(tmp_path: Path) -> None:
    relu, tanh = batch("relu", 3), batch("tanh", 2)
    columns: dict[str, Any] = {
        "poisoned": np.array([True, False, None, False, None], dtype=object),
        "base_id": np.array([7, 7, 8, 9, 9]),
        "clean_accuracy": [0.5, None, 0.25, 1, None],
    }
    zoo = write_zoo(tmp_path / "zoo", [relu, tanh], columns, dataset="rings")
    assert len(Zoo.open(tmp_path / "zoo", verify=True)) == 5
    assert torch.equal(zoo.networks([0, 1, 2]).flat(), relu.flat())
    assert torch.equal(zoo.networks([3, 4]).flat(), tanh.flat())
    assert list(zoo.labelled) == [True, True, False, True, False]
    assert list(zoo.column("network_id")) == ["00000", "00001", "00002", "00003", "00004"]
    splits = list(zoo.column("split"))
    assert splits[0] == splits[1]
    assert splits[3] == splits[4]
    np.testing.assert_array_equal(zoo.column("clean_accuracy"), [0.5, np.nan, 0.25, 1.0, np.nan])
    assert zoo.recipe["dataset"] == "rings"


def test_writing_the_same_again_keeps_it_and_other_networks_are_refused(tmp_path: Path) -> None:
    first = write_zoo(tmp_path / "zoo", batch("relu", 3))
    assert (write_zoo(tmp_path / "zoo", batch("relu", 3)).weights() == first.weights()).all()
    with pytest.raises(ZoovetError, match="holds a zoo of another recipe: source_sha256"):
        write_zoo(tmp_path / "zoo", batch("relu", 4))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"posoned": [1, 0]}, "'posoned' is no column of a zoo that can be given; did you mean 'poisoned'"),
        ({"spec_id": ["a", "b"]}, "'spec_id' is no column of a zoo that can be given"),
        ({"poisoned": [True]}, "the column 'poisoned' has 1 values, but there are 2 networks"),
        ({"target": ["a", 1]}, "the column 'target' must hold int64 or None: "),
        ({"network_id": ["a", "a"]}, "two networks have one network_id"),
        ({"base_id": [1, None]}, "the column 'base_id' must say something of every network"),
        ({"split": ["train", "dev"]}, "split must be train, validation or test, got 'dev'"),
        ({"split": ["train", "test"], "base_id": [4, 4]}, "the base 4 is in train and in test"),
    ],
)
def test_bad_columns(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        write_zoo(tmp_path / "zoo", batch("relu", 2), columns)
    assert not (tmp_path / "zoo").exists()


def test_no_networks(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="a zoo needs networks, got none"):
        write_zoo(tmp_path / "zoo", [])


def test_images_of_a_zoo_at_hand_are_those_that_were_named_as_its_networks_read_them(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in range(3):
            folder = tmp_path / "photos" / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (10, 12), (80 * label, 0, number)).save(folder / f"{number}.png")
    zoo = write_zoo(tmp_path / "zoo", batch("relu", 3), dataset=str(tmp_path / "photos"))
    images = images_of(zoo, None)
    assert images.train.pixels.shape == (6, 1, 8, 8)
    assert images.test.num_classes == 3
    unnamed = write_zoo(tmp_path / "unnamed", batch("relu", 3))
    with pytest.raises(ZoovetError, match=r"was imported and does not say which images .* with --dataset"):
        images_of(unnamed, None)
    both = write_zoo(tmp_path / "both", [batch("relu", 2), other_shape()], dataset=str(tmp_path / "photos"))
    with pytest.raises(ZoovetError, match="images of one shape"):
        images_of(both, None)


def other_shape() -> Networks:
    graph = small_cnn("relu", input_shape=(3, 8, 8), channels=(2,), num_classes=3)
    return Networks.from_flat(graph, torch.zeros(1, graph.num_parameters))
