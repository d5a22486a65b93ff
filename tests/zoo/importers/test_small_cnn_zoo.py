"""The Small CNN Zoo: weights land where they belong, and checkpoints of one training stay together."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import run
from zoovet.zoo.importers import ImportOptions, import_zoo, open_published

Array = np.ndarray[Any, Any]


def keras_forward(flat: Array, images: Array, activation: str) -> Array:
    """The network as Keras runs it, loop by loop: NHWC, ``valid`` padding, stride 2, HWIO kernels."""
    values, position = images.astype(np.float64), 0
    for num_in in (1, 16, 16):
        bias = flat[position : position + 16]
        kernel = flat[position + 16 : position + 16 + 144 * num_in].reshape(3, 3, num_in, 16)
        position += 16 + 144 * num_in
        size = (values.shape[1] - 3) // 2 + 1
        out = np.zeros((len(values), size, size, 16))
        for row in range(size):
            for column in range(size):
                patch = values[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
                out[:, row, column] = np.einsum("nhwi,hwio->no", patch, kernel) + bias
        values = np.maximum(out, 0) if activation == "relu" else np.tanh(out)
    logits: Array = values.mean(axis=(1, 2)) @ flat[position + 10 :].reshape(16, 10) + flat[position : position + 10]
    return logits


def test_networks_compute_what_tensorflow_computes(small_cnn_zoo: Path, tmp_path: Path) -> None:
    zoo = import_zoo(open_published("small-cnn-zoo", small_cnn_zoo), tmp_path / "zoo", shard_bytes=500_000)
    published = np.load(small_cnn_zoo / "weights.npy")
    images = np.random.default_rng(1).uniform(-1, 1, (3, 32, 32, 1))
    batches = zoo.batches_by_graph([0, 1, 9, 50, 89])
    assert {networks.graph.chain.activation for networks, _ in batches} == {"relu", "tanh"}
    for networks, places in batches:
        logits = run(networks.to(dtype=torch.float64), torch.from_numpy(images).permute(0, 3, 1, 2))
        for place, found in zip(places, logits.numpy(), strict=True):
            expected = keras_forward(published[place].astype(np.float64), images, networks.graph.chain.activation)
            np.testing.assert_allclose(found, expected, atol=1e-12)


def test_every_column_is_taken_over(small_cnn_zoo: Path, tmp_path: Path) -> None:
    zoo = import_zoo(open_published("small-cnn-zoo", small_cnn_zoo), tmp_path / "zoo")
    assert len(zoo) == 90
    row = {name: column[4] for name, column in zoo.facts.items()}  # steps sort as text: 0, 1, 2, 20, 3, …
    expected = {
        "network_id": "00000-03",
        "base_id": 0,
        "spec_id": "tanh",
        "activation": "tanh",
        "dataset": "cifar10",
        "source": "cifar10/0/permanent_ckpt-3",
        "seed": 42,
        "init": "glorot_normal",
        "init_std": 0.05,
        "optimizer": "adam",
        "learning_rate": 0.003,
        "weight_decay": 1e-6,
        "dropout": 0.25,
        "epochs": 86,
        "train_fraction": 0.5,
        "step": 3,
        "clean_accuracy": 0.115,
        "train_accuracy": 0.115,
        "test_loss": 1.5,
        "train_loss": 1.25,
    }
    assert {name: row[name] for name in expected} == expected
    assert not row["poisoned"]
    assert zoo.recipe["kind"] == "imported"
    assert (zoo.recipe["layout"], zoo.recipe["dataset"], zoo.recipe["image_size"]) == (
        "small-cnn-zoo",
        "cifar10",
        [32, 32],
    )
    assert zoo.graphs["relu"].input_shape == (1, 32, 32)


def test_without_a_split_file_trainings_are_drawn_whole(small_cnn_zoo: Path) -> None:
    facts = open_published("small-cnn-zoo", small_cnn_zoo).facts.to_pydict()
    splits = {base: set() for base in facts["base_id"]}
    for base, split in zip(facts["base_id"], facts["split"], strict=True):
        splits[base].add(split)
    assert sorted(map(list, splits.values())) == [["test"]] * 5 + [["train"]] * 4 + [["validation"]]
    other = open_published("small-cnn-zoo", small_cnn_zoo, ImportOptions(seed=1)).facts.to_pydict()
    assert other["split"] != facts["split"]


def test_the_nfn_split_is_that_of_the_released_code(small_cnn_zoo: Path, split_file: Path) -> None:
    facts = open_published("small-cnn-zoo", small_cnn_zoo, ImportOptions(split_file=split_file)).facts.to_pydict()
    # The released code, on lists: permute rows and steps, keep step 86, halve, shuffle, cut.
    order = [int(line) for line in split_file.read_text().split()[1:]]
    last = [row for row in order if facts["step"][row] == 86]
    half = len(last) // 2
    first = list(range(half))
    random.Random(0).shuffle(first)
    cut = int(0.8 * half)
    expected = {facts["base_id"][row]: "test" for row in last[half:]}
    expected |= {facts["base_id"][last[index]]: "train" for index in first[:cut]}
    expected |= {facts["base_id"][last[index]]: "validation" for index in first[cut:]}
    assert len(expected) == 10
    assert facts["split"] == [expected[base] for base in facts["base_id"]]


def test_a_training_without_its_last_checkpoint_goes_to_train(tmp_path: Path, make: SimpleNamespace) -> None:
    lines = make.small_cnn_lines(4)[:-2]  # as text, 86 comes last but one
    folder = make.write_tables(tmp_path / "zoo", lines, make.random_weights(len(lines)))
    split = tmp_path / "split.csv"
    split.write_text("\n".join(map(str, reversed(range(len(lines))))))
    published = open_published("small-cnn-zoo", folder, ImportOptions(split_file=split))
    facts = published.facts.to_pydict()
    assert {split for base, split in zip(facts["base_id"], facts["split"], strict=True) if base == 3} == {"train"}
    assert "1 trainings without a checkpoint at step 86 were put into train" in published.remarks
    assert "34 rows of cifar10; the published dataset has 270,000" in published.remarks


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0\n1\n2\n", r"split\.csv has 3 row numbers, the dataset 90 rows"),
        ("\n".join(["7"] + [str(row) for row in range(1, 90)]), "overlaps with itself: row 7 is there 2 times"),
        ("\n".join(str(row) for row in range(1, 91)), "names row 90; rows are 0 to 89"),
        ("0\nx\n", r"split\.csv, line 2: 'x' is no row number"),
        ("\n".join(["-1"] + [str(row) for row in range(1, 90)]), "line 1: '-1' is no row number"),
    ],
)
def test_a_split_file_that_does_not_fit(small_cnn_zoo: Path, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "split.csv"
    path.write_text(content)
    with pytest.raises(ZoovetError, match=message):
        open_published("small-cnn-zoo", small_cnn_zoo, ImportOptions(split_file=path))


def test_a_split_file_needs_last_checkpoints(tmp_path: Path, make: SimpleNamespace) -> None:
    lines = [make.metrics_line(f"a/{row}/permanent_ckpt-1", "relu", 1, 0.5) for row in range(4)]
    folder = make.write_tables(tmp_path / "zoo", lines, make.random_weights(4))
    split = tmp_path / "split.csv"
    split.write_text("3\n1\n2\n0\n")
    with pytest.raises(ZoovetError, match="has no row with step 86"):
        open_published("small-cnn-zoo", folder, ImportOptions(split_file=split))


def test_the_same_checkpoint_twice(tmp_path: Path, make: SimpleNamespace) -> None:
    lines = [make.metrics_line(f"a/0/permanent_ckpt-{name}", "relu", 1, 0.5) for name in ("1", "01")]
    folder = make.write_tables(tmp_path / "zoo", lines, make.random_weights(2))
    with pytest.raises(ZoovetError, match=r"rows 0 and 1 are the same checkpoint .*ckpt-1 and .*ckpt-01"):
        open_published("small-cnn-zoo", folder)


def test_weights_that_are_not_finite_are_named(small_cnn_zoo: Path, tmp_path: Path) -> None:
    weights = np.load(small_cnn_zoo / "weights.npy")
    weights[41, 7] = np.nan
    np.save(small_cnn_zoo / "weights.npy", weights)
    with pytest.raises(ZoovetError, match=r"weights\.npy has NaN or infinite numbers in row 41 \(cifar10/4/.*-40\)"):
        import_zoo(open_published("small-cnn-zoo", small_cnn_zoo), tmp_path / "zoo", shard_bytes=200_000)
