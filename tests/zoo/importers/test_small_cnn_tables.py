"""Tables that do not hold what they should: the message names file, line and remedy."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.zoo.importers import open_published


@pytest.mark.parametrize("name", ["weights.npy", "metrics.csv.gz", "layout.csv"])
def test_a_missing_file_is_named_with_the_address(small_cnn_zoo: Path, name: str) -> None:
    (small_cnn_zoo / name).unlink()
    with pytest.raises(ZoovetError, match=rf"cifar10 lacks the file {name} of .*https://storage\.cloud\.google\.com"):
        open_published("small-cnn-zoo", small_cnn_zoo)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="nowhere is no folder"):
        open_published("small-cnn-zoo", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"(3, 3, 1, 16)"', '"(3, 3, 2, 16)"', r"line 3: .* has the places 16 to 160; expected are 288 places from 16"),
        ("176,2480", "177,2481", r"line 5: .* has the places 177 to 2481; expected are 2304 places from 176"),
        ("conv2d_1/kernel:0", "conv2d_1/gamma:0", "line 5: .*gamma:0' of shape .* is neither a bias .* nor a kernel"),
        ("start_idx", "start", r"lacks the column 'start_idx'; did you mean 'start'"),
        ("0,16,16", "x,16,16", "line 2, start_idx: 'x' is no integer"),
        ('"(16, 10)"', "", "line 9: the shape '' is no tuple of integers such as"),
        ('160,"(16, 10)"', "160", "line 9 ends too early"),
        ('"(3, 3, 1, 16)"', '"(0, 3, 1, 16)"', "line 3: the shape .* has an axis of length 0"),
        ('sequential/dense/kernel:0,4810,4970,160,"(16, 10)"\n', "", "biases of .* do not fit kernels of"),
    ],
)
def test_a_damaged_layout(small_cnn_zoo: Path, old: str, new: str, message: str) -> None:
    path = small_cnn_zoo / "layout.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ZoovetError, match=message):
        open_published("small-cnn-zoo", small_cnn_zoo)


def test_a_shape_is_never_evaluated(small_cnn_zoo: Path, tmp_path: Path) -> None:
    trap = tmp_path / "pwned"
    path = small_cnn_zoo / "layout.csv"
    code = f"""(__import__('os').system('touch {trap}') or 3, 3, 1, 16)"""
    path.write_text(path.read_text().replace("(3, 3, 1, 16)", code))
    with pytest.raises(ZoovetError, match=r"line 3: the shape .*__import__.* is no tuple of integers"):
        open_published("small-cnn-zoo", small_cnn_zoo)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(3, 3, 16, 16)", "(3, 6, 8, 16)", r"layer 1 \(conv\) reads 8 channels, but 16 come in"),
        ("(3, 3, 1, 16)", "(1, 1, 9, 16)", r"images of 1 channel, but the first kernel reads 9"),
    ],
)
def test_layers_that_do_not_fit_one_another(small_cnn_zoo: Path, old: str, new: str, message: str) -> None:
    path = small_cnn_zoo / "layout.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ZoovetError, match=rf"layout\.csv is no layout of networks on cifar10: .*{message}"):
        open_published("small-cnn-zoo", small_cnn_zoo)


def rewrite(folder: Path, old: str, new: str) -> None:
    path = folder / "metrics.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new, 1).encode()))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("config.activation", "config.activations", "lacks the column 'config.activation'; did you mean"),
        ("ckpt-1,tanh", "ckpt-1,gelu", "config.activation is 'gelu' in row 1, which is unknown"),
        ("zeros,cifar10,", "zeros,cifar100,", "config.dataset is 'cifar100' in row 0, .*did you mean 'cifar10'"),
        ("zeros,cifar10,", "zeros,mnist,", "config.dataset is cifar10 and mnist; expected is one dataset"),
        (",0,0.1,", ",0,,", r"test_accuracy is missing or outside \[0, 1\] in row 0 \(cifar10/0/permanent_ckpt-0\)"),
        (",0,0.1,", ",0,1.5,", r"test_accuracy is missing or outside \[0, 1\] in row 0"),
        (",0,0.1,", ",0.5,0.1,", r"step is 0.5, which is no integer in row 0"),
        (",0,0.1,", ",,0.1,", r"step is missing in row 0"),
        (",0,0.1,", ",0,high,", r"metrics\.csv\.gz cannot be read: .*'high'"),
        (",0,0.1,", ",0,0.1,0.1,", r"metrics\.csv\.gz cannot be read: .*[Ee]xpected 24 columns"),
    ],
)
def test_damaged_metrics(small_cnn_zoo: Path, old: str, new: str, message: str) -> None:
    rewrite(small_cnn_zoo, old, new)
    with pytest.raises(ZoovetError, match=message):
        open_published("small-cnn-zoo", small_cnn_zoo)


def test_metrics_that_are_no_gzip_file_or_truncated(small_cnn_zoo: Path) -> None:
    path = small_cnn_zoo / "metrics.csv.gz"
    data = path.read_bytes()
    for content in (b"plain", data[: len(data) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(ZoovetError, match=r"metrics\.csv\.gz cannot be read"):
            open_published("small-cnn-zoo", small_cnn_zoo)


def test_rows_and_weights_of_different_length(tmp_path: Path, make: SimpleNamespace) -> None:
    lines = make.small_cnn_lines(2)
    folder = make.write_tables(tmp_path / "zoo", lines, make.random_weights(17))
    with pytest.raises(ZoovetError, match=r"metrics\.csv\.gz has 18 rows, .*weights\.npy 17"):
        open_published("small-cnn-zoo", folder)
    make.write_tables(tmp_path / "zoo", [], make.random_weights(17))
    with pytest.raises(ZoovetError, match=r"metrics\.csv\.gz has no rows"):
        open_published("small-cnn-zoo", folder)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros((18, 4970)), r"must be a float32 matrix \[networks, parameters\], got float64 of shape \(18, 4970\)"),
        (np.zeros(18, np.float32), r"got float32 of shape \(18,\)"),
        (np.zeros((18, 4969), np.float32), r"layout\.csv describes 4970 numbers a network, .*weights\.npy has 4969"),
    ],
)
def test_weights_of_a_wrong_shape(tmp_path: Path, make: SimpleNamespace, weights: Any, message: str) -> None:
    folder = make.write_tables(tmp_path / "zoo", make.small_cnn_lines(2), weights)
    with pytest.raises(ZoovetError, match=message):
        open_published("small-cnn-zoo", folder)


class Trap:
    """A pickle of this makes a file when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def test_pickled_weights_are_refused_and_not_run(small_cnn_zoo: Path, tmp_path: Path) -> None:
    trap, path = tmp_path / "pwned", small_cnn_zoo / "weights.npy"
    np.save(path, np.array([Trap(trap)], dtype=object), allow_pickle=True)
    with pytest.raises(ZoovetError, match="holds pickled objects, which may run any code, and was refused"):
        open_published("small-cnn-zoo", small_cnn_zoo)
    path.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(ZoovetError, match="holds pickled objects, which may run any code, and was refused"):
        open_published("small-cnn-zoo", small_cnn_zoo)
    assert not trap.exists()


def test_truncated_weights(small_cnn_zoo: Path) -> None:
    path = small_cnn_zoo / "weights.npy"
    data = path.read_bytes()
    for content in (data[:-100], data[:20], b""):
        path.write_bytes(content)
        with pytest.raises(ZoovetError, match=r"weights\.npy cannot be read: "):
            open_published("small-cnn-zoo", small_cnn_zoo)


def test_an_archive_in_place_of_weights(small_cnn_zoo: Path) -> None:
    with (small_cnn_zoo / "weights.npy").open("wb") as file:
        np.savez(file, weights=np.zeros((90, 4970), np.float32))
    with pytest.raises(ZoovetError, match=r"must be a float32 matrix .*, got an archive"):
        open_published("small-cnn-zoo", small_cnn_zoo)
