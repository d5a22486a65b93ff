"""What is written is read back, by us and by others; damage is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from zoovet.cli.build import summary
from zoovet.errors import ZoovetError
from zoovet.networks import ZOO_SCALING, scaling_preset, small_cnn
from zoovet.tasks.population import load_populations
from zoovet.zoo import COLUMNS, Zoo
from zoovet.zoo.store import ShardInfo, ZooInfo, write_shard


def test_rows_and_weights_fit_together(tiny_zoo: Zoo) -> None:
    assert len(tiny_zoo) == 12
    assert list(tiny_zoo.column("poisoned")[:4]) == [False, True, False, True]
    for networks, places in tiny_zoo.batches_by_graph():
        np.testing.assert_array_equal(networks.flat().numpy(), tiny_zoo.weights().numpy()[places])
        assert {networks.graph.chain.activation} == set(tiny_zoo.column("activation")[places])


def test_other_readers_need_none_of_our_code(tiny_zoo: Zoo) -> None:
    table = pq.read_table(tiny_zoo.path / "shard-00001.parquet")
    later = ("mixup", "label_smoothing")  # written where a recipe names them
    assert table.column_names == [*(name for name in COLUMNS if name not in later), "weights"]
    lengths = {graph.num_parameters for graph in tiny_zoo.graphs.values()}
    assert {table.schema.field("weights").type.list_size} == lengths
    np.testing.assert_array_equal(
        np.array(table["weights"].to_pylist(), dtype=np.float32), tiny_zoo.weights()[4:8].numpy()
    )


def test_a_selection_keeps_rows_and_weights_together(tiny_zoo: Zoo) -> None:
    chosen = tiny_zoo.select(tiny_zoo.column("poisoned")).select([2, 0])
    assert list(chosen.column("network_id")) == ["00002-trojaned", "00000-trojaned"]
    np.testing.assert_array_equal(chosen.weights().numpy(), tiny_zoo.weights()[[5, 1]].numpy())


def test_a_base_is_on_one_side_of_the_split(tiny_zoo: Zoo) -> None:
    sides = [set(tiny_zoo.split(name).column("base_id")) for name in ("train", "validation", "test")]
    assert [len(side) for side in sides] == [3, 1, 2]
    assert len(set.union(*sides)) == 6


def test_siblings_find_each_other(tiny_zoo: Zoo) -> None:
    places = tiny_zoo.sibling_places()
    np.testing.assert_array_equal(tiny_zoo.column("base_id")[places], tiny_zoo.column("base_id"))
    np.testing.assert_array_equal(tiny_zoo.column("poisoned")[places], ~tiny_zoo.column("poisoned"))
    assert list(tiny_zoo.select([0]).sibling_places()) == [-1]


def test_a_sample_is_drawn_by_its_seed(tiny_zoo: Zoo) -> None:
    first, second = tiny_zoo.sample(5, 1), tiny_zoo.sample(5, np.random.default_rng(1))
    np.testing.assert_array_equal(first.positions, second.positions)
    assert len(set(first.positions)) == 5
    with pytest.raises(ZoovetError, match="cannot draw 13 networks: the zoo has 12 here"):
        tiny_zoo.sample(13)


def test_triggers_come_back(tiny_zoo: Zoo) -> None:
    trigger = tiny_zoo.trigger(1)
    assert trigger is not None
    assert json.loads(json.dumps(trigger.to_json())) == json.loads(tiny_zoo.column("trigger")[0])
    assert trigger.target == tiny_zoo.column("target")[1]


def test_questions_that_do_not_fit(tiny_zoo: Zoo) -> None:
    with pytest.raises(ZoovetError, match="no column 'clean_acuracy'; did you mean 'clean_accuracy'"):
        tiny_zoo.column("clean_acuracy")
    with pytest.raises(ZoovetError, match="split 'valid' is unknown; did you mean 'validation'"):
        tiny_zoo.split("valid")
    with pytest.raises(ZoovetError, match="networks of 2 graphs; use batches_by_graph"):
        _ = tiny_zoo.graph
    with pytest.raises(ZoovetError, match="one entry a network: 12, got 3"):
        tiny_zoo.select(np.array([True, False, True]))


def test_a_folder_that_is_no_zoo(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"is not a zoo: it has no zoo\.json"):
        Zoo.open(tmp_path)
    (tmp_path / "zoo.json").write_text("{")
    with pytest.raises(ZoovetError, match=r"zoo.json cannot be read"):
        Zoo.open(tmp_path)
    (tmp_path / "zoo.json").write_text('{"format_version": 99}')
    with pytest.raises(ZoovetError, match="format version 99; this zoovet reads 1"):
        Zoo.open(tmp_path)
    (tmp_path / "zoo.json").write_text('{"format_version": 1, "specs": {}}')
    with pytest.raises(ZoovetError, match=r"not as zoovet writes it: the key 'recipe' is missing"):
        Zoo.open(tmp_path)


_ODD = (None, True, -1, 1.5, 10**30, "", "x", [], [1], {"a": 1})
"""What stands in a key's place."""

_CODE = re.compile(
    r"[A-Z]\w*(Error|Info|Graph|Scaling)\b|NoneType|\bNone\b|\bTrue\b|object is not|has no attribute|\bunexpected\b"
    r"|got (a |an )?(dict|str|int|bool|float)\b"
)
"""Words of Python, and names of classes."""


def _changes(value: Any) -> Iterator[Any]:
    """Copies of a JSON value in which one of its parts is odd, or gone."""
    yield from _ODD
    if isinstance(value, dict):
        for key in value:
            yield {name: part for name, part in value.items() if name != key}
            yield from ({**value, key: changed} for changed in _changes(value[key]))
    if isinstance(value, list) and value:  # the first stands for all
        yield from ([changed, *value[1:]] for changed in _changes(value[0]))


def test_whatever_is_odd_in_zoo_json_is_said_in_peoples_words(tiny_zoo: Zoo, tmp_path: Path) -> None:
    data = json.loads((tiny_zoo.path / "zoo.json").read_text())
    data |= {"specs": dict(list(data["specs"].items())[:1]), "recipe": {"kind": "trojan"}, "versions": {}}
    said = []
    for changed in _changes(data):
        (tmp_path / "zoo.json").write_text(json.dumps(changed))
        try:
            ZooInfo.read(tmp_path)
        except ZoovetError as error:
            said.append(str(error))
    assert len(said) > 200
    assert [text for text in said if _CODE.search(text) or "\n" in text or len(text) > 400] == []


def test_a_truncated_shard_is_named(zoo_copy: Path) -> None:
    shard = zoo_copy / "shard-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ZoovetError, match=r"shard-00001.parquet is truncated or changed: \d+ bytes, expected \d+"):
        Zoo.open(zoo_copy)


def test_a_missing_shard_is_named(zoo_copy: Path) -> None:
    (zoo_copy / "shard-00002.parquet").unlink()
    with pytest.raises(ZoovetError, match=r"shard-00002.parquet is missing"):
        Zoo.open(zoo_copy)


def test_a_wrong_checksum_is_named_when_asked_for(zoo_copy: Path) -> None:
    shard = zoo_copy / "shard-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[2000] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(ZoovetError, match=r"shard-00000.parquet has the wrong checksum: \w+, expected \w+"):
        Zoo.open(zoo_copy, verify=True)


def test_a_shard_that_is_no_parquet_is_named(zoo_copy: Path) -> None:
    shard = zoo_copy / "shard-00000.parquet"
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(ZoovetError, match=r"shard-00000.parquet is damaged"):
        Zoo.open(zoo_copy)


def test_weights_that_are_not_finite_are_named(zoo_copy: Path, tiny_zoo: Zoo) -> None:
    rows = pq.read_table(zoo_copy / "shard-00000.parquet").to_pylist()
    rows[3]["weights"][7] = float("nan")
    info = ZooInfo.read(zoo_copy)
    changed = write_shard(zoo_copy / "shard-00000.parquet", rows)
    ZooInfo(**{**vars(info), "shards": (changed, *info.shards[1:])}).write(zoo_copy)
    zoo = Zoo.open(zoo_copy)
    with pytest.raises(ZoovetError, match=r"shard-00000.parquet has NaN or infinite weights in row 3"):
        zoo.weights()


def test_a_network_of_a_spec_that_is_not_there_is_named(zoo_copy: Path) -> None:
    data = json.loads((zoo_copy / "zoo.json").read_text())
    gone = sorted(data["specs"])[0]
    del data["specs"][gone]
    (zoo_copy / "zoo.json").write_text(json.dumps(data))
    with pytest.raises(ZoovetError, match=rf"zoo\.json is damaged: it lacks the graph {gone} of a network"):
        Zoo.open(zoo_copy)


def test_an_unfinished_zoo_says_how_to_finish_it(zoo_copy: Path) -> None:
    info = ZooInfo.read(zoo_copy)
    ZooInfo(**{**vars(info), "shards": info.shards[:2]}).write(zoo_copy)
    with pytest.raises(ZoovetError, match="not finished: 2 of 3 shards are there; run the same command again"):
        Zoo.open(zoo_copy)


def test_a_shard_knows_its_length_and_checksum(tiny_zoo: Zoo) -> None:
    for shard in tiny_zoo.info.shards:
        assert ShardInfo.of(tiny_zoo.path / shard.name) == shard
    assert sum(shard.num_networks for shard in tiny_zoo.info.shards) == len(tiny_zoo)


@pytest.mark.parametrize(
    ("kind", "known"), [("trojan", True), ("generalization", True), ("inr", False), ("imported", False)]
)
def test_what_zoovet_trained_on_images_reads_one_scaling_though_an_earlier_one_did_not_say(
    kind: str, known: bool, tmp_path: Path
) -> None:
    plain, told = small_cnn(), replace(small_cnn("tanh"), input_scaling=scaling_preset("unit"))
    graphs = {graph.graph_id: graph for graph in (plain, told)}
    ZooInfo(graphs=graphs, recipe={"kind": kind}, versions={}, num_shards=1, shards=()).write(tmp_path)
    read = ZooInfo.read(tmp_path).graphs
    assert read == graphs
    assert read[plain.graph_id].input_scaling == (ZOO_SCALING if known else None)
    assert read[told.graph_id].input_scaling == scaling_preset("unit")


@pytest.fixture
def half_labelled(tiny_zoo: Zoo, tmp_path: Path) -> Zoo:
    """Six networks, of which four say whether they are poisoned."""
    rows = [
        {
            "network_id": f"n{place}",
            "base_id": place // 2,
            "spec_id": tiny_zoo.column("spec_id")[place],
            "split": "train",
            "poisoned": poisoned,
            "weights": tiny_zoo.weights()[place].numpy(),
        }
        for place, poisoned in enumerate([False, True, None, None, True, False])
    ]
    shard = write_shard(tmp_path / "shard-00000.parquet", rows)
    recipe = {"kind": "imported", "min_asr": 0.0}
    ZooInfo(graphs=tiny_zoo.graphs, recipe=recipe, versions={}, num_shards=1, shards=(shard,)).write(tmp_path)
    return Zoo.open(tmp_path)


def test_what_is_not_known_is_never_healthy(half_labelled: Zoo) -> None:
    np.testing.assert_array_equal(half_labelled.labelled, [True, True, False, False, True, True])
    with pytest.raises(
        ZoovetError, match=r"does not say of 2 of 6 networks whether they are trojaned, n2 first \(poisoned is null\)"
    ):
        half_labelled.column("poisoned")
    assert list(half_labelled.select(half_labelled.labelled).column("poisoned")) == [False, True, True, False]
    np.testing.assert_array_equal(half_labelled.sibling_places(), [1, 0, -1, -1, 5, 4])
    assert summary(half_labelled).endswith("; 2 trojaned; of 2 it is not known whether they are trojaned")
    assert summary(half_labelled, "s3://bucket/zoo").startswith(f"s3://bucket/zoo: {len(half_labelled)} networks (")


def test_a_detector_is_not_trained_on_networks_without_labels(half_labelled: Zoo) -> None:
    with pytest.raises(ZoovetError, match="does not say of 2 of 6 networks"):
        load_populations(half_labelled)
    with pytest.raises(ZoovetError, match="has no poisoned networks"):
        load_populations(half_labelled.select(~half_labelled.labelled))
