"""CIFAR-10 INRs: originals, augmented copies, and the split by index."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.networks import siren
from zoovet.zoo.importers import ImportOptions, import_zoo, open_published

SOURCES = ["randinit_smaller_3s/net0.pth", "randinit_smaller_aug0_3s/net0.pth", "randinit_smaller_aug11_3s/net0.pth"]


def test_copies_stay_with_their_image_and_out_of_validation_and_test(
    cifar_inr: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    published = open_published("cifar-inr", cifar_inr)
    zoo = import_zoo(published, tmp_path / "zoo")
    assert zoo.graph == siren((2, 32, 32, 3), 30.0)
    rows = list(zip(*(zoo.column(name).tolist() for name in ("base_id", "copy", "split", "label")), strict=True))
    assert rows == [
        (0, 0, "train", 3),
        (44_999, 0, "train", 1),
        (45_000, 0, "validation", 3),
        (49_999, 0, "validation", 2),
        (50_000, 0, "test", 1),
        (59_999, 0, "test", 0),
        (0, 1, "train", 3),
        (44_999, 1, "train", 1),
        (0, 12, "train", 3),
        (44_999, 12, "train", 1),
    ]
    assert "8 copies of validation and test images were left out" in published.remarks
    places = [list(zoo.column("source")).index(source) for source in SOURCES]
    for copy, place in enumerate(places):
        expected = make.flat_state(make.siren_state(3, seed=copy))
        np.testing.assert_array_equal(zoo.weights().numpy()[place], expected)
    assert (zoo.recipe["dataset"], zoo.recipe["image_size"], zoo.recipe["channels"]) == ("cifar10", [32, 32], 3)


@pytest.mark.parametrize(("copies", "num_networks"), [(0, 6), (1, 8), (12, 10)])
def test_copies_can_be_left_out(cifar_inr: Path, copies: int, num_networks: int) -> None:
    published = open_published("cifar-inr", cifar_inr.parent, ImportOptions(copies=copies))
    assert published.num_networks == num_networks


def test_a_copy_without_its_original(cifar_inr: Path) -> None:
    (cifar_inr / "randinit_smaller_3s" / "net0.pth").unlink()
    with pytest.raises(ZoovetError, match=r"aug\d+_3s/net0\.pth is a copy of image 0, but there is no original"):
        open_published("cifar-inr", cifar_inr)


def test_an_image_in_two_classes(cifar_inr: Path) -> None:
    original = cifar_inr / "randinit_smaller_3s" / "net0.pth"
    (cifar_inr / "randinit_smaller_1s" / "net0.pth").write_bytes(original.read_bytes())
    with pytest.raises(ZoovetError, match=r"net0\.pth"):
        open_published("cifar-inr", cifar_inr)


def test_folders_without_originals(cifar_inr: Path, tmp_path: Path) -> None:
    for folder in cifar_inr.glob("randinit_smaller_[0-9]s"):
        folder.rename(tmp_path / folder.name)
    with pytest.raises(
        ZoovetError, match=r"lacks the folders randinit_smaller_0s to .*siren_cifar_wts\.tar from https"
    ):
        open_published("cifar-inr", cifar_inr)
    with pytest.raises(ZoovetError, match="nowhere does not exist or is no folder"):
        open_published("cifar-inr", tmp_path / "nowhere")
