"""Which images the demo takes, and what it says of them."""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import pytest

from zoovet.cli import demo, demo_dataset
from zoovet.cli.demo_config import demo_config
from zoovet.cli.demo_dataset import choose_dataset
from zoovet.config import write_config
from zoovet.errors import ZoovetError
from zoovet.images import datasets


@pytest.fixture(autouse=True)
def nothing_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dataset of the system, and a server that must not be asked unless a test says what it does."""

    def not_asked(name: str, *, seconds: float) -> str:
        raise AssertionError("the server was asked")

    monkeypatch.setattr(datasets, "SYSTEM_FOLDERS", {})
    monkeypatch.setattr(demo_dataset, "why_no_answer", not_asked)


def write_images(folder: Path, labels: bytes = bytes(range(3))) -> None:
    """Three images of Fashion-MNIST's form in each split."""
    folder.mkdir(parents=True)
    pixels = np.zeros((3, 28, 28), dtype=np.uint8).tobytes()
    for prefix in ("train", "t10k"):
        head = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (3, 28, 28))
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + labels)


def test_fashion_mnist_is_taken_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "fashion-mnist")
    assert choose_dataset(tmp_path) == ("fashion-mnist", f"found in {tmp_path / 'fashion-mnist'}")
    assert choose_dataset(tmp_path / "fashion-mnist") == ("fashion-mnist", f"found in {tmp_path / 'fashion-mnist'}")
    monkeypatch.setenv("ZOOVET_DATA", str(tmp_path))
    assert choose_dataset(None) == ("fashion-mnist", f"found in {tmp_path / 'fashion-mnist'}")
    monkeypatch.setattr(datasets, "SYSTEM_FOLDERS", {"fashion-mnist": (tmp_path / "fashion-mnist",)})
    assert choose_dataset(tmp_path / "none") == ("fashion-mnist", f"found in {tmp_path / 'fashion-mnist'}")


def test_glyphs_are_taken_where_the_server_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_dataset, "why_no_answer", lambda name, *, seconds: f"did not answer within {seconds:g} s")
    assert choose_dataset(tmp_path) == (
        "glyphs",
        "drawn here, since Fashion-MNIST is not on this machine and its server, "
        "fashion-mnist.s3.eu-central-1.amazonaws.com, did not answer within 10 s",
    )


def test_it_is_downloaded_where_the_server_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, folder: Path, searched: list[Path]) -> None:
        write_images(folder)

    monkeypatch.setattr(demo_dataset, "why_no_answer", lambda name, *, seconds: None)
    monkeypatch.setattr(demo_dataset, "download", download)
    assert choose_dataset(tmp_path) == ("fashion-mnist", f"downloaded to {tmp_path / 'fashion-mnist'}")
    assert choose_dataset(tmp_path) == ("fashion-mnist", f"found in {tmp_path / 'fashion-mnist'}")


def test_a_download_that_breaks_off_gives_glyphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, folder: Path, searched: list[Path]) -> None:
        raise ZoovetError("the connection was lost")

    monkeypatch.setattr(demo_dataset, "why_no_answer", lambda name, *, seconds: None)
    monkeypatch.setattr(demo_dataset, "download", download)
    assert choose_dataset(tmp_path) == (
        "glyphs",
        "drawn here, since Fashion-MNIST's download failed: the connection was lost",
    )


def test_damaged_files_give_glyphs_and_are_named(tmp_path: Path) -> None:
    write_images(tmp_path / "data", labels=bytes([1, 2, 77]))
    name, why = choose_dataset(tmp_path / "data")
    assert name == "glyphs"
    assert why.startswith("drawn here, since Fashion-MNIST's files cannot be used: ")
    assert "train-labels-idx1-ubyte has a label 77" in why


def test_what_is_asked_for_is_obeyed_and_a_demo_keeps_its_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = argparse.Namespace(overrides={"zoo.dataset": "digits"}, data_root=tmp_path)
    free = argparse.Namespace(overrides={}, data_root=tmp_path)
    assert demo._dataset(tmp_path / "out", asked) == ("digits", "as --zoo.dataset says")
    (tmp_path / "out").mkdir()
    write_config(demo_config({"zoo.dataset": "glyphs"}), tmp_path / "out" / "demo.yaml")
    write_images(tmp_path / "fashion-mnist")
    assert demo._dataset(tmp_path / "out", free) == ("glyphs", f"as before in {tmp_path / 'out'}")
    assert demo._dataset(tmp_path / "out", asked) == ("digits", "as --zoo.dataset says")
    assert demo._dataset(tmp_path / "new", free)[0] == "fashion-mnist"


def test_no_training_of_the_demo_ends_by_the_clock() -> None:
    config = demo_config({})
    assert config.detection.training.max_minutes is config.repair.training.max_minutes is None
