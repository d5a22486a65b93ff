"""A canonical zoo shows the pictures of its source, shard by shard, and survives being killed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, run
from zoovet.networks.chains import siren, small_cnn
from zoovet.symmetry import canonicalize
from zoovet.zoo import Zoo
from zoovet.zoo.builders import recipe_of
from zoovet.zoo.canonical_zoo import canonicalize_zoo
from zoovet.zoo.growing_zoo import BuildProgress
from zoovet.zoo.store import ZooInfo, write_shard

GRAPHS = (siren((2, 8, 8, 1)), siren((2, 6, 3), w0=7.0))
RECIPE = {"kind": "inr", "dataset": "fashion-mnist", "num_images": 60, "seed": 3}


def write_zoo(folder: Path, graphs: tuple[Graph, ...] = GRAPHS[:1], num_shards: int = 3, seed: int = 0) -> Path:
    """A zoo of SIRENs nobody fitted: biases over several turns, 20 networks a shard, graphs by turns."""
    folder.mkdir()
    shards = []
    for index in range(num_shards):
        rows = []
        for number in range(20 * index, 20 * index + 20):
            graph = graphs[number % len(graphs)]
            random = np.random.default_rng([seed, number])
            rows.append(
                {
                    "network_id": f"{number:05d}-0",
                    "base_id": number,
                    "spec_id": graph.graph_id,
                    "split": ("train", "validation", "test")[number % 3],
                    "dataset": "fashion-mnist",
                    "image_index": number,
                    "label": number % 10,
                    "psnr": math.nan if number == 7 else 30.0 + number,
                    "weights": random.uniform(-0.4, 0.4, graph.num_parameters).astype(np.float32),
                }
            )
        shards.append(write_shard(folder / f"shard-{index:05d}.parquet", rows))
    by_id = {graph.graph_id: graph for graph in graphs}
    ZooInfo(graphs=by_id, recipe=RECIPE, versions={}, num_shards=num_shards, shards=tuple(shards)).write(folder)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_zoo(tmp_path / "zoo")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("graphs", [GRAPHS[:1], GRAPHS])
def test_pictures_and_facts_are_the_source_s(tmp_path: Path, graphs: tuple[Graph, ...]) -> None:
    source = write_zoo(tmp_path / "zoo", graphs)
    before = contents(source)
    canonical, zoo = canonicalize_zoo(source, tmp_path / "out"), Zoo.open(source)
    assert contents(source) == before
    coordinates = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = 0.0
    for (networks, own), (found, places) in zip(zoo.batches_by_graph(), canonical.batches_by_graph(), strict=True):
        assert np.array_equal(own, places)
        assert torch.equal(found.flat(), canonicalize(networks).flat())
        shown = run(networks.to(dtype=torch.float64), coordinates.double())
        difference = (run(found.to(dtype=torch.float64), coordinates.double()) - shown).abs().max()
        assert float(difference) <= 1e-5
        moved = max(moved, float((found.flat() - networks.flat()).abs().max()))
    assert moved > 0.3
    for shard in zoo.info.shards:
        first, second = (
            pq.read_table(folder / shard.name).drop(["weights", "psnr"]) for folder in (source, canonical.path)
        )
        assert first.equals(second)
    np.testing.assert_array_equal(canonical.column("psnr"), zoo.column("psnr"))


def test_the_recipe_says_so_and_still_reads(source: Path, tmp_path: Path) -> None:
    recipe = canonicalize_zoo(source, tmp_path / "out").recipe
    assert recipe["canonicalized"] is True
    assert {key: recipe[key] for key in RECIPE} == RECIPE
    with pytest.raises(ZoovetError, match="unknown"):
        recipe_of({**recipe_stored("trojan"), "canonicalised": True})
    stored = recipe_stored("trojan")
    assert recipe_of({**stored, "canonicalized": True, "canonicalized_from": "0" * 64}) == recipe_of(stored)


def recipe_stored(kind: str) -> dict[str, object]:
    return {"kind": kind, "num_bases": 2, "dataset": "digits"}


def test_a_canonical_zoo_gives_its_own_weights_again(source: Path, tmp_path: Path) -> None:
    once = canonicalize_zoo(source, tmp_path / "once")
    twice = canonicalize_zoo(tmp_path / "once", tmp_path / "twice")
    for shard in once.info.shards:
        assert (once.path / shard.name).read_bytes() == (twice.path / shard.name).read_bytes()


def interruption(after: int) -> Callable[[BuildProgress], None]:
    def stop(progress: BuildProgress) -> None:
        if progress.num_networks == after:
            raise KeyboardInterrupt

    return stop


def test_interrupted_and_resumed_it_ends_with_the_same_bytes(source: Path, tmp_path: Path) -> None:
    canonicalize_zoo(source, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        canonicalize_zoo(source, tmp_path / "parts", progress=interruption(40))
    with pytest.raises(ZoovetError, match="is not finished: 2 of 3 shards are there"):
        Zoo.open(tmp_path / "parts")
    kept = (tmp_path / "parts" / "shard-00001.parquet").stat().st_mtime_ns
    (tmp_path / "parts" / ".shard-00002.parquet.abc.partial").write_text("killed")
    seen: list[BuildProgress] = []
    canonicalize_zoo(source, tmp_path / "parts", progress=seen.append)
    assert [(each.num_networks, each.num_found, each.total) for each in seen] == [(40, 40, 60), (60, 40, 60)]
    assert (tmp_path / "parts" / "shard-00001.parquet").stat().st_mtime_ns == kept
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_finished_one_is_left_alone(source: Path, tmp_path: Path) -> None:
    canonicalize_zoo(source, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*")}
    canonicalize_zoo(source, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*")} == times


def test_places_that_hold_something_else_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"--out .*zoo is the zoo itself, which is never overwritten; give another"):
        canonicalize_zoo(source, source)
    other = write_zoo(tmp_path / "other", seed=1)
    canonicalize_zoo(other, tmp_path / "taken")
    with pytest.raises(ZoovetError, match=r"of another recipe: canonicalized_from is '.*' there, '.*' here"):
        canonicalize_zoo(source, tmp_path / "taken")
    with pytest.raises(ZoovetError, match="holds a zoo of another recipe: canonicalized is null there, true here"):
        canonicalize_zoo(source, other)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("mine")
    with pytest.raises(ZoovetError, match="notes is not empty and holds no zoo; give another --out"):
        canonicalize_zoo(source, tmp_path / "notes")
    with pytest.raises(ZoovetError, match=r"cannot write into .*zoo\.json"):
        canonicalize_zoo(source, source / "zoo.json")


def test_networks_without_sines_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name, graphs in (("cnn", (small_cnn(channels=(2, 2)),)), ("both", (GRAPHS[0], small_cnn(channels=(2, 2))))):
        source = write_zoo(tmp_path / name, graphs)
        with pytest.raises(ZoovetError, match=rf"{name}: phase canonicalization is for networks with sine layers"):
            canonicalize_zoo(source, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_damage_is_named(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "bad")
    data = bytearray((source / "shard-00001.parquet").read_bytes())
    data[100] ^= 1
    (tmp_path / "bad" / "shard-00001.parquet").write_bytes(data)
    with pytest.raises(ZoovetError, match=r"shard-00001\.parquet has the wrong checksum"):
        canonicalize_zoo(tmp_path / "bad", tmp_path / "out")
    with pytest.raises(ZoovetError, match=r"is not a zoo: it has no zoo\.json"):
        canonicalize_zoo(tmp_path, tmp_path / "out")
    info = json.loads((source / "zoo.json").read_text())
    info["shards"].pop()
    (source / "zoo.json").write_text(json.dumps(info))
    with pytest.raises(ZoovetError, match="is not finished: 2 of 3 shards are there"):
        canonicalize_zoo(source, tmp_path / "out")
