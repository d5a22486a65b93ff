"""MNIST INRs: weights, labels and splits out of folder names and state dicts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import siren
from zoovet.zoo.importers import ImportOptions, import_zoo, open_published
from zoovet.zoo.inr_pictures import pictures


def test_networks_show_what_the_published_ones_show(mnist_inr: Path, tmp_path: Path) -> None:
    zoo = import_zoo(open_published("mnist-inr", mnist_inr), tmp_path / "zoo", shard_bytes=50_000)
    assert zoo.graph == siren((2, 32, 32, 1), 30.0)
    place = list(zoo.column("source")).index("mnist_png_testing_8_2/checkpoints/model_final.pth")
    shown = pictures(zoo.networks([place]), 28, 28)[0, 0]
    state = torch.load(mnist_inr / zoo.column("source")[place], weights_only=True)
    for row, column in ((0, 0), (3, 20), (27, 27)):
        values = torch.tensor([2 * row / 27 - 1, 2 * column / 27 - 1])
        for layer in (0, 1):
            values = torch.sin(30 * (state[f"seq.{layer}.weight"] @ values + state[f"seq.{layer}.bias"]))
        expected = state["seq.2.weight"] @ values + state["seq.2.bias"] + 0.5
        torch.testing.assert_close(shown[row, column], expected[0], atol=1e-5, rtol=0)


def test_rows_say_what_the_folders_say(mnist_inr: Path, tmp_path: Path) -> None:
    zoo = import_zoo(open_published("mnist-inr", mnist_inr.parent), tmp_path / "zoo")
    assert len(zoo) == 42
    place = list(zoo.column("source")).index("mnist_png_testing_8_2/checkpoints/model_final.pth")
    row = {name: column[place] for name, column in zoo.facts.items()}
    assert (row["network_id"], row["label"], row["copy"], row["split"]) == ("60002-0", 8, 0, "test")
    assert row["base_id"] == row["image_index"] == 60_002, "training images, then test images"
    assert (row["dataset"], row["activation"]) == ("mnist", "sine")
    assert {name: len(zoo.split(name)) for name in ("train", "validation", "test")} == {
        "train": 33,
        "validation": 3,
        "test": 6,
    }
    assert (zoo.recipe["image_size"], zoo.recipe["w0"], zoo.recipe["channels"]) == ([28, 28], 30.0, 1)
    assert zoo.recipe["image_splits"] == ["train", "test"]


def listed(root: Path, **splits: list[int]) -> dict[str, Any]:
    """A split file as the released script writes it: absolute paths, labels as text."""
    result: dict[str, Any] = {}
    for name, images in splits.items():
        kind = "testing" if name == "test" else "training"
        label_of = {image: image % 10 if kind == "training" else (image + 36) % 10 for image in images}
        folders = [f"mnist_png_{kind}_{label_of[image]}_{image}" for image in images]
        result[name] = {
            "path": [f"/home/them/mnist-inrs/{folder}/checkpoints/model_final.pth" for folder in folders],
            "label": [str(label_of[image]) for image in images],
        }
    return result


def test_a_split_file_is_followed(mnist_inr: Path, tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(listed(mnist_inr, train=[0, 5], val=[7], test=[1, 2])))
    published = open_published("mnist-inr", mnist_inr, ImportOptions(split_file=path))
    facts = published.facts.to_pydict()
    assert dict(zip(facts["image_index"], facts["split"], strict=True)) == {
        0: "train",
        5: "train",
        7: "validation",
        60_001: "test",
        60_002: "test",
    }
    assert any("37 networks are in no split" in remark for remark in published.remarks)
    shutil.copy(path, mnist_inr / "mnist_splits.json")
    assert open_published("mnist-inr", mnist_inr).facts.equals(published.facts)


def change(splits: dict[str, Any], what: str) -> None:
    if what == "overlap":
        splits["test"] = splits["train"]
    elif what == "twice":
        splits["train"]["path"][1] = splits["train"]["path"][0]
    elif what == "short":
        splits["train"]["label"].pop()
    elif what == "no labels":
        del splits["train"]["label"]
    elif what == "wrong label":
        splits["train"]["label"][1] = 3
    elif what == "other file":
        splits["train"]["path"][1] = "a/mnist_png_training_5_77/checkpoints/model_final.pth"
    elif what == "wrong side":
        splits["train"], splits["test"] = splits["test"], splits["train"]
    elif what == "name":
        splits["tset"] = splits.pop("test")
    else:
        splits["train"] = what


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("overlap", "the splits overlap: mnist_png_training_0_0/.* is in train and in test"),
        ("twice", "the splits overlap: .* is twice in train"),
        ("short", "'train' has 2 paths and 1 labels; every path needs its label"),
        ("no labels", "'train' has 2 paths and no labels"),
        ("wrong label", "the label of mnist_png_training_5_5/.* is 3, its folder's name says 5"),
        (
            "other file",
            r"mnist-inrs lacks the file mnist_png_training_5_77/.*\. The dataset: mnist-inrs\.zip from https",
        ),
        ("wrong side", "networks of MNIST's testing images are the test set"),
        ("name", "the split 'tset' is unknown; did you mean 'test'"),
        ("paths", "'train' must be a list of paths"),
    ],
)
def test_a_split_file_that_does_not_fit(mnist_inr: Path, tmp_path: Path, what: str, message: str) -> None:
    path, splits = tmp_path / "splits.json", listed(mnist_inr, train=[0, 5], val=[7], test=[1, 2])
    change(splits, what)
    path.write_text(json.dumps(splits))
    with pytest.raises(ZoovetError, match=message):
        open_published("mnist-inr", mnist_inr, ImportOptions(split_file=path))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read"), ("[]", "must hold a JSON object"), (None, "cannot")]
)
def test_a_split_file_that_is_none(mnist_inr: Path, tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "splits.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ZoovetError, match=rf"the split file .*splits\.json {message}"):
        open_published("mnist-inr", mnist_inr, ImportOptions(split_file=path))


def test_a_network_that_is_missing_is_named(mnist_inr: Path) -> None:
    (mnist_inr / "mnist_png_training_3_13" / "checkpoints" / "model_final.pth").unlink()
    with pytest.raises(ZoovetError, match=r"lacks the file mnist_png_training_3_13/checkpoints/model_final\.pth of"):
        open_published("mnist-inr", mnist_inr)


@pytest.mark.parametrize("name", ["mnist_png_training_13", "mnist_png_training_x_13", "mnist_png_training_11_13"])
def test_a_label_that_is_missing(mnist_inr: Path, name: str) -> None:
    (mnist_inr / "mnist_png_training_3_13").rename(mnist_inr / name)
    with pytest.raises(ZoovetError, match=rf"{name}: the label from 0 to 9 is missing in the folder's name"):
        open_published("mnist-inr", mnist_inr)


def test_folders_without_networks(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"lacks the folders mnist_png_training_LABEL_IMAGE .*dropbox"):
        open_published("mnist-inr", tmp_path)
    with pytest.raises(ZoovetError, match="nowhere does not exist or is no folder"):
        open_published("mnist-inr", tmp_path / "nowhere")


def test_two_networks_of_one_image(mnist_inr: Path) -> None:
    shutil.copytree(mnist_inr / "mnist_png_training_3_13", mnist_inr / "mnist_png_training_4_13")
    with pytest.raises(ZoovetError, match=r"mnist_png_training_3_13/.* and mnist_png_training_4_13/.* of one image"):
        open_published("mnist-inr", mnist_inr)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("channels", r"model_final\.pth does not fit the graph: layer 2 .*weight of 1×32 or .*'seq\.2' is 3×32"),
        ("nan", r"model_final\.pth: tensor 'seq.1.bias' has NaN or infinite numbers"),
        ("layer", r"model_final\.pth does not fit the graph: it holds 2 linear layers, .*, the graph is 2 → linear"),
    ],
)
def test_weights_that_do_not_fit(
    mnist_inr: Path, tmp_path: Path, make: SimpleNamespace, damage: str, message: str
) -> None:
    state = make.siren_state(3 if damage == "channels" else 1)
    if damage == "nan":
        state["seq.1.bias"][3] = float("nan")
    if damage == "layer":
        del state["seq.2.weight"], state["seq.2.bias"]
    torch.save(state, mnist_inr / "mnist_png_training_3_13" / "checkpoints" / "model_final.pth")
    with pytest.raises(ZoovetError, match=rf"mnist_png_training_3_13/checkpoints/{message}"):
        import_zoo(open_published("mnist-inr", mnist_inr), tmp_path / "zoo")


def test_values_are_those_of_the_files(mnist_inr: Path, tmp_path: Path, make: SimpleNamespace) -> None:
    zoo = import_zoo(open_published("mnist-inr", mnist_inr), tmp_path / "zoo")
    weights = zoo.weights().numpy()
    for place, source in enumerate(zoo.column("source")):
        state = torch.load(mnist_inr / source, weights_only=True)
        np.testing.assert_array_equal(weights[place], make.flat_state(state))
