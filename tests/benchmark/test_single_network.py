"""Scores of a zoo's networks are kept as they come, and not found twice; what does not fit is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from zoovet.benchmark.single_network import ReferenceChoice, score_networks
from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable
from zoovet.images import Images
from zoovet.networks import ZOO_SCALING, run, small_cnn
from zoovet.rivals.single_network import SingleNetworkResult, TrojanSignature
from zoovet.rivals.single_network.interface import Progress, class_result
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3,)).reading(ZOO_SCALING)


@dataclass(frozen=True)
class Counting:
    """Scores a network by its answers, and remembers what it was given."""

    most: float = np.inf
    needs_images: bool = True
    given: list[tuple[Tensor | None, Tensor | None]] = field(default_factory=list, repr=False)

    def test(
        self,
        network: Runnable,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        progress: Progress = lambda _: None,
    ) -> SingleNetworkResult:
        self.given.append((images, labels))
        answers = network.logits(torch.ones(1, 1, 8, 8))[0, 0]
        if float(answers.max()) > self.most:
            raise ZoovetError("too much")
        return class_result(answers, float(answers.max()))


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    """Three networks, on two sets of images."""
    generator = np.random.default_rng(0)
    rows = [
        {
            "network_id": f"{base}-healthy",
            "base_id": base,
            "spec_id": GRAPH.graph_id,
            "split": "train",
            "dataset": ("rings", "crosses")[base % 2],
            "weights": generator.standard_normal(GRAPH.num_parameters).astype(np.float32),
        }
        for base in range(3)
    ]
    folder = tmp_path / "zoo"
    folder.mkdir()
    shard = write_shard(folder / "shard-00000.parquet", rows)
    ZooInfo(graphs={GRAPH.graph_id: GRAPH}, recipe={}, versions={}, num_shards=1, shards=(shard,)).write(folder)
    return Zoo.open(folder)


@pytest.fixture
def images() -> dict[str, Images]:
    """Twelve of each, of three classes, one of which has a single image; every pixel is its image's number."""
    pixels = torch.arange(12, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 2])
    shifts = {"rings": 0, "crosses": 100}
    return {name: Images(pixels=pixels + shift, labels=labels, name=name) for name, shift in shifts.items()}


def test_scores_are_kept_and_not_found_twice(zoo: Zoo, images: dict[str, Images], tmp_path: Path) -> None:
    out, first, told = tmp_path / "scores.parquet", Counting(), list[tuple[int, int]]()
    score_networks(zoo.select([0, 1]), images, {"counting": first}, out, progress=lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]
    again = Counting()
    score_networks(zoo, images, {"counting": again, "signature": TrojanSignature()}, out)
    assert (len(first.given), len(again.given)) == (2, 1)
    rows = pq.read_table(out).to_pylist()
    assert len({(row["network_id"], row["test"]) for row in rows}) == len(rows) == 6
    networks = zoo.networks()
    for row in rows:
        place = zoo.column("network_id").tolist().index(row["network_id"])
        assert row["seconds"] >= 0
        assert (row["p_value"] is None) == (row["test"] == "counting")
        if row["test"] == "counting":
            answers = run(networks[place : place + 1], torch.ones(1, 1, 8, 8))[0, 0]
            assert row["score"] == pytest.approx(float(answers.max()), rel=1e-5)
            assert row["target"] == int(answers.argmax())


def test_each_network_gets_a_few_images_of_every_class_of_its_own_set(
    zoo: Zoo, images: dict[str, Images], tmp_path: Path
) -> None:
    for choice, expected in (
        (ReferenceChoice(images_per_class=2), [0, 0, 1, 1, 2]),
        (ReferenceChoice(images_per_class=2, labelled=False), None),
        (ReferenceChoice(images_per_class=0), None),
    ):
        test, out = Counting(), tmp_path / f"{choice.images_per_class}-{choice.labelled}.parquet"
        score_networks(zoo, images, {"counting": test}, out, reference=choice)
        for place, (pixels, labels) in enumerate(test.given):
            assert (pixels is None) == (choice.images_per_class == 0)
            assert (labels is None) == (expected is None)
            if labels is not None and pixels is not None:
                assert sorted(labels.tolist()) == expected
                assert bool((pixels >= 100).all()) == (place == 1)
                assert torch.equal(labels, images["rings"].required_labels[pixels[:, 0, 0, 0].long() % 100])


def test_a_network_that_a_test_refuses_has_a_row_that_says_why(
    zoo: Zoo, images: dict[str, Images], tmp_path: Path
) -> None:
    score_networks(zoo, images, {"strict": Counting(most=-np.inf)}, tmp_path / "scores.parquet")
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert [(row["score"], row["target"], row["note"]) for row in rows] == [(None, None, "too much")] * 3


def test_other_settings_other_files_and_missing_images_are_refused(
    zoo: Zoo, images: dict[str, Images], tmp_path: Path
) -> None:
    out = tmp_path / "scores.parquet"
    score: Callable[..., None] = score_networks
    score(zoo, images, {"counting": Counting()}, out)
    for tests, reference in (
        ({"counting": Counting(most=5)}, ReferenceChoice()),
        ({"counting": Counting()}, ReferenceChoice(seed=1)),
    ):
        with pytest.raises(ZoovetError, match="holds scores of other settings; give another file, or remove it"):
            score(zoo, images, tests, out, reference=reference)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("text")
    for name in ("other", "text"):
        with pytest.raises(ZoovetError, match="holds no scores of single-network tests; give another file"):
            score(zoo, images, {"counting": Counting()}, tmp_path / f"{name}.parquet")
    with pytest.raises(ZoovetError, match=r"images of 'crosses', which networks of .* read, are not given"):
        score(zoo, {"rings": images["rings"]}, {"counting": Counting()}, out)
    with pytest.raises(ZoovetError, match="images_per_class and seed must be at least 0, got -1 and 0"):
        ReferenceChoice(images_per_class=-1)
