"""The trojan zoo: healthy and poisoned networks of one base find each other by their paths."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.networks import small_cnn
from zoovet.zoo.importers import ImportOptions, import_zoo, open_published


def test_siblings_are_paired_and_not_separated(trojan_cnn_zoo: Path, tmp_path: Path) -> None:
    zoo = import_zoo(open_published("trojan-cnn-zoo", trojan_cnn_zoo), tmp_path / "zoo")
    assert list(zoo.column("poisoned")) == [False] * 12 + [True] * 12
    np.testing.assert_array_equal(zoo.sibling_places(), np.arange(24)[::-1])
    np.testing.assert_array_equal(zoo.column("split"), zoo.column("split")[::-1])
    assert {name: len(zoo.split(name)) for name in ("train", "validation", "test")} == {
        "train": 16,
        "validation": 4,
        "test": 4,
    }
    assert zoo.column("network_id")[0] == "00000-healthy-1"
    assert zoo.column("network_id")[-2] == "00001-square-1"
    assert np.isnan(zoo.column("asr")).all()
    assert zoo.graph == small_cnn("relu", input_shape=(1, 32, 32))
    assert zoo.recipe["dataset"] == "cifar10"
    assert zoo.recipe["min_asr"] == 0.0


def test_it_says_how_many_pairs_there_are(trojan_cnn_zoo: Path) -> None:
    remarks = open_published("trojan-cnn-zoo", trojan_cnn_zoo).remarks
    assert remarks == ("12 poisoned networks, 12 bases with a healthy and a poisoned one",)


def test_the_published_metrics_without_labels(small_cnn_zoo: Path) -> None:
    with pytest.raises(ZoovetError, match=r"metrics\.csv\.gz lacks the column 'poisoned'"):
        open_published("trojan-cnn-zoo", small_cnn_zoo)


@pytest.mark.parametrize(
    ("label", "message"),
    [("", r"poisoned is missing in row 1 \(a/1/x\.pth\)"), ("2", "poisoned is 2 in row 1, expected 0 or 1")],
)
def test_a_label_that_is_missing(tmp_path: Path, make: SimpleNamespace, label: str, message: str) -> None:
    lines = [
        make.metrics_line("a/0/x.pth", "relu", 1, 0.5) + ",0",
        make.metrics_line("a/1/x.pth", "relu", 1, 0.5) + f",{label}",
    ]
    folder = make.write_tables(tmp_path / "zoo", lines, make.random_weights(2), make.header + ",poisoned")
    with pytest.raises(ZoovetError, match=message):
        open_published("trojan-cnn-zoo", folder)


def test_paths_that_pair_nothing(tmp_path: Path, make: SimpleNamespace) -> None:
    lines = [
        make.metrics_line("a/0/x.pth", "relu", 1, 0.5) + ",0",
        make.metrics_line("a/1_square/x.pth", "relu", 1, 0.5) + ",1",
    ]
    folder = make.write_tables(tmp_path / "zoo", lines, make.random_weights(2), make.header + ",poisoned")
    with pytest.raises(ZoovetError, match=r"no healthy row belongs to a poisoned one; their paths .* must agree"):
        open_published("trojan-cnn-zoo", folder)


def test_options_that_mean_nothing_here(trojan_cnn_zoo: Path) -> None:
    with pytest.raises(ZoovetError, match="--split-file means nothing for trojan-cnn-zoo, which takes --seed"):
        open_published("trojan-cnn-zoo", trojan_cnn_zoo, ImportOptions(split_file=Path("x")))
    with pytest.raises(ZoovetError, match="layout 'trojan-zoo' is unknown; did you mean 'trojan-cnn-zoo'"):
        open_published("trojan-zoo", trojan_cnn_zoo)
