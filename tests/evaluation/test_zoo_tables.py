"""Tables of what a zoo's networks reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoovet.cli.main import main
from zoovet.errors import ZoovetError
from zoovet.evaluation.zoo_tables import zoo_groups, zoo_page
from zoovet.networks import small_cnn
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(2,), num_classes=2)


def written(folder: Path, num_shards: int = 1, *, accuracy: float | None = 0.5) -> Path:
    rows = []
    for base in range(4):
        for poisoned in (False, True):
            rows.append(
                {
                    "network_id": f"{base}-{poisoned}",
                    "base_id": base,
                    "spec_id": GRAPH.graph_id,
                    "split": "train",
                    "family": "vgg" if base < 3 else "mlp",
                    "dataset": "digits" if base % 2 else "glyphs",
                    "attack": "patch" if base < 2 else None,
                    "poisoned": poisoned,
                    "clean_accuracy": None if accuracy is None else accuracy + 0.1 * base - 0.02 * poisoned,
                    "asr": 0.9 - 0.1 * base if poisoned else 0.1,
                    "ra": 0.05 if poisoned else 0.4,
                    "weights": np.zeros(GRAPH.num_parameters, np.float32),
                }
            )
    folder.mkdir()
    shard = write_shard(folder / "shard-00000.parquet", rows)
    info = ZooInfo(graphs={GRAPH.graph_id: GRAPH}, recipe={}, versions={}, num_shards=num_shards, shards=(shard,))
    info.write(folder)
    return folder


def test_groups_are_means_over_bases(tmp_path: Path) -> None:
    zoo = Zoo.open(written(tmp_path / "zoo"))
    mlp, vgg = zoo_groups(zoo, "family")
    assert (mlp.name, mlp.num_bases, vgg.name, vgg.num_bases) == ("mlp", 1, "vgg", 3)
    assert vgg.healthy_accuracy == pytest.approx(0.6)
    assert vgg.trojaned_accuracy == pytest.approx(0.58)
    assert vgg.asr == pytest.approx(0.8)
    assert vgg.low_asr == pytest.approx(0.72)
    assert vgg.healthy_asr == pytest.approx(0.1)
    assert vgg.ra == pytest.approx(0.05)
    assert [(group.name, group.num_bases) for group in zoo_groups(zoo, "attack")] == [("patch", 2)]
    assert zoo_groups(zoo, "optimizer") == []


def test_the_page_has_a_table_for_each_known_column_and_the_cells(tmp_path: Path) -> None:
    page = zoo_page(Zoo.open(written(tmp_path / "zoo")))
    assert page.startswith("8 networks of 4 bases.")
    assert "| vgg | 3 | 0.600 | 0.580 | 0.800 | 0.720 | 0.100 | 0.050 |" in page
    assert "| optimizer |" not in page
    assert "| | digits | glyphs |" in page
    assert "| mlp | 1 (0.800) | – |" in page
    assert "| vgg | 1 (0.600) | 2 (0.600) |" in page


def test_the_verb_sums_up_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", str(written(tmp_path / "zoo", num_shards=3))]) == 0
    assert capsys.readouterr().out.startswith("Not finished: 1 of 3 shards.\n\n8 networks of 4 bases.")
    assert main(["summary", str(tmp_path)]) == 2
    assert "is not a zoo: it has no zoo.json" in capsys.readouterr().err


def test_networks_without_accuracies_are_nothing_to_sum_up(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="has no networks with accuracies: there is nothing to sum up"):
        zoo_page(Zoo.open(written(tmp_path / "zoo", accuracy=None)))
