"""``zoovet canonicalize`` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zoovet.cli.main import main
from zoovet.networks.chains import siren, small_cnn
from zoovet.networks.graph import Graph
from zoovet.symmetry import canonicalize
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard


def write_zoo(folder: Path, graph: Graph) -> Path:
    folder.mkdir()
    shards = []
    for index in range(2):
        rows = [
            {
                "network_id": f"{number:05d}-0",
                "base_id": number,
                "spec_id": graph.graph_id,
                "split": ("train", "validation", "test")[number % 3],
                "psnr": 30.0,
                "weights": np.random.default_rng(number).uniform(-1, 1, graph.num_parameters).astype(np.float32),
            }
            for number in range(6 * index, 6 * index + 6)
        ]
        shards.append(write_shard(folder / f"shard-{index:05d}.parquet", rows))
    ZooInfo(
        graphs={graph.graph_id: graph}, recipe={"kind": "inr"}, versions={}, num_shards=2, shards=tuple(shards)
    ).write(folder)
    return folder


def test_it_writes_a_canonical_zoo_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_zoo(tmp_path / "zoo", siren((2, 6, 1)))
    out = tmp_path / "out"
    for _ in range(2):  # the second time everything is there
        assert main(["canonicalize", str(source), "--out", str(out)]) == 0
        shown = capsys.readouterr()
        assert shown.out == f"{out}: 12 networks (4 train, 4 validation, 4 test), PSNR 30.0 dB\n"
        assert "canonicalizing" in shown.err
        assert "/12 networks" in shown.err
    expected = canonicalize(Zoo.open(source).networks()).flat()
    assert torch.equal(Zoo.open(out, verify=True).networks().flat(), expected)
    assert Zoo.open(out).recipe["canonicalized"] is True


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_zoo(tmp_path / "cnns", small_cnn(channels=(2, 2)))
    for words, message in (
        (
            [str(source), "--out", str(tmp_path / "out")],
            "cnns: phase canonicalization is for networks with sine layers",
        ),
        ([str(source), "--out", str(source)], "is the zoo itself, which is never overwritten; give another --out"),
        ([str(tmp_path), "--out", str(tmp_path / "out")], "is not a zoo: it has no zoo.json"),
        ([str(source), "--out", "x", "--seed", "1"], "unknown option --seed"),
        ([str(source)], "the following arguments are required: --out"),
    ):
        assert main(["canonicalize", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_logger_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "config.yaml", "--out", str(tmp_path / "run"), "--logger", "tensorbord"]) == 2
    assert "invalid choice: 'tensorbord' (choose from" in capsys.readouterr().err
