"""Fashion-MNIST INRs: labels in the weight files, splits in splits.json."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.zoo import Zoo
from zoovet.zoo.importers import import_zoo, open_published


def imported(folder: Path, out: Path) -> Zoo:
    return import_zoo(open_published("fmnist-inr", folder), out)


def test_labels_come_from_the_files_and_splits_from_the_list(
    fmnist_inr: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    zoo = imported(fmnist_inr, tmp_path / "zoo")
    found = {
        str(source): (int(index), str(split), int(label))
        for source, index, split, label in zip(
            *(zoo.column(name) for name in ("source", "image_index", "split", "label")), strict=True
        )
    }
    assert found == {
        "train/model_20814.pth": (20_814, "train", 0),
        "train/model_938.pth": (938, "train", 1),
        "train/model_7.pth": (7, "train", 2),
        "train/model_14816.pth": (14_816, "validation", 3),
        "test/model_7.pth": (60_007, "test", 4),
        "test/model_12.pth": (60_012, "test", 5),
    }
    np.testing.assert_array_equal(zoo.column("base_id"), zoo.column("image_index"))
    for weights, label in zip(zoo.weights().numpy(), zoo.column("label"), strict=True):
        np.testing.assert_array_equal(weights, make.flat_state(make.siren_state(seed=int(label))))
    assert zoo.recipe["dataset"] == "fashion-mnist"


def test_a_label_may_be_a_tensor_and_the_folder_the_one_above(fmnist_inr: Path, tmp_path: Path) -> None:
    for path in fmnist_inr.glob("*/*.pth"):
        state = torch.load(path, weights_only=True)
        torch.save({**state, "label": torch.tensor(state["label"])}, path)
    zoo = imported(fmnist_inr.parent, tmp_path / "zoo")
    assert sorted(zoo.column("label")) == [0, 1, 2, 3, 4, 5]


def test_files_of_other_names_have_no_image_index(fmnist_inr: Path, tmp_path: Path) -> None:
    (fmnist_inr / "train" / "model_7.pth").rename(fmnist_inr / "train" / "shirt.pth")
    text = (fmnist_inr / "splits.json").read_text()
    (fmnist_inr / "splits.json").write_text(text.replace("train/model_7.pth", "train/shirt.pth"))
    zoo = imported(fmnist_inr, tmp_path / "zoo")
    assert set(zoo.column("image_index")) == {-1}
    assert sorted(zoo.column("base_id")) == list(range(6))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, r"model_938\.pth has no key 'label' with one number"),
        (10, r"model_938\.pth has the label 10; expected is .* from 0 to 9"),
        (2.5, r"model_938\.pth has the label 2\.5"),
        (torch.tensor([1, 2]), r"model_938\.pth has no key 'label' with one number"),
    ],
)
def test_a_label_that_is_missing_or_none(fmnist_inr: Path, tmp_path: Path, label: Any, message: str) -> None:
    path = fmnist_inr / "train" / "model_938.pth"
    state = torch.load(path, weights_only=True)
    del state["label"]
    torch.save(state if label is None else {**state, "label": label}, path)
    with pytest.raises(ZoovetError, match=message):
        imported(fmnist_inr, tmp_path / "zoo")


def test_missing_files_are_named(fmnist_inr: Path) -> None:
    (fmnist_inr / "train" / "model_938.pth").unlink()
    with pytest.raises(
        ZoovetError, match=r"fmnist_inrs lacks the file train/model_938\.pth, which .*splits\.json lists"
    ):
        open_published("fmnist-inr", fmnist_inr)
    (fmnist_inr / "splits.json").unlink()
    with pytest.raises(ZoovetError, match=r"lacks the file splits\.json of the layout fmnist-inr\. .*fmnist_inrs\.zip"):
        open_published("fmnist-inr", fmnist_inr)


def test_splits_that_overlap_or_are_empty(fmnist_inr: Path) -> None:
    path = fmnist_inr / "splits.json"
    splits = json.loads(path.read_text())
    splits["test"].append("elsewhere/train/model_7.pth")
    path.write_text(json.dumps(splits))
    with pytest.raises(ZoovetError, match=r"the splits overlap: train/model_7\.pth is in train and in test"):
        open_published("fmnist-inr", fmnist_inr)
    path.write_text("{}")
    with pytest.raises(ZoovetError, match=r"splits\.json lists no networks"):
        open_published("fmnist-inr", fmnist_inr)


class Trap:
    """A pickle of this makes a file when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def test_code_in_a_weight_file_is_refused_and_not_run(fmnist_inr: Path, tmp_path: Path) -> None:
    path, trap = fmnist_inr / "train" / "model_938.pth", tmp_path / "pwned"
    torch.save({**torch.load(path, weights_only=True), "label": Trap(trap)}, path)
    with pytest.raises(ZoovetError, match=r"model_938\.pth was refused and nothing in it was run"):
        imported(fmnist_inr, tmp_path / "zoo")
    assert not trap.exists()
