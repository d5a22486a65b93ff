from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zoovet.errors import ZoovetError
from zoovet.evaluation.results import DetectionResults, RepairResults


def assert_same(first, second):
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, dict):
            assert list(one) == list(other)
            one, other = list(one.values()), list(other.values())
        if isinstance(one, tuple) and isinstance(one[0], np.ndarray):
            assert [part.shape for part in one] == [part.shape for part in other]
            one, other = np.concatenate(one, axis=1), np.concatenate(other, axis=1)
        np.testing.assert_array_equal(one, other, err_msg=field.name)


def test_detection_results_survive_a_file(detection, tmp_path):
    detection.save(tmp_path / "detection.parquet")
    assert_same(detection, DetectionResults.load(tmp_path / "detection.parquet"))


def test_repair_results_survive_a_file(repair, tmp_path):
    repair.save(tmp_path / "repair.parquet")
    assert_same(repair, RepairResults.load(tmp_path / "repair.parquet"))


def test_files_are_plain_tables_a_row_a_network(detection, repair, tmp_path):
    detection.save(tmp_path / "detection.parquet")
    repair.save(tmp_path / "repair.parquet")
    table = pq.read_table(tmp_path / "detection.parquet")
    assert table.num_rows == 8
    assert table["scores of StatNN"].to_pylist()[1] == 0.9
    assert pq.read_table(tmp_path / "repair.parquet")["relative_changes"].to_pylist()[1] == [0.3, 0.4]


def test_other_files_are_refused(detection, tmp_path):
    with pytest.raises(ZoovetError, match=r"no detection results at .*nothing\.parquet"):
        DetectionResults.load(tmp_path / "nothing.parquet")
    detection.save(tmp_path / "detection.parquet")
    with pytest.raises(ZoovetError, match="holds no repair results of zoovet, but detection"):
        RepairResults.load(tmp_path / "detection.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ZoovetError, match="some other table"):
        DetectionResults.load(tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no table at all")
    with pytest.raises(ZoovetError, match=r"text\.parquet cannot be read"):
        DetectionResults.load(tmp_path / "text.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": [0.5] * 7}, r"scores must have one entry a network \(8\), got the shape \(7,\)"),
        ({"scores": [0.5] * 7 + [np.nan]}, "scores of the network '00003-trojaned' is NaN"),
        ({"poisoned": [True]}, r"poisoned must have one entry a network \(8\), got 1"),
        ({"network_ids": ("a",) * 8}, "the network 'a' occurs twice"),
        ({"network_ids": ()}, "at least one network"),
        ({"rival_thresholds": {}}, "every rival needs scores and a threshold"),
        ({"rivals": {"StatNN": [0.1]}}, "scores of the rival StatNN must have one entry a network"),
    ],
)
def test_detection_results_that_do_not_fit_are_refused(detection, change, message):
    with pytest.raises(ZoovetError, match=message):
        replace(detection, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"asr_after": [np.nan] * 8}, "asr_after of the network '00000-healthy' is NaN"),
        ({"relative_changes": np.zeros((8, 3))}, r"relative_changes must have the shape \(8, 2\), got \(8, 3\)"),
        ({"channel_changes": (np.zeros((8, 4)),)}, "channel_changes must be 2 arrays"),
        ({"channel_changes": (np.zeros((8, 4)), np.zeros((7, 4)))}, "of 8 rows"),
    ],
)
def test_repair_results_that_do_not_fit_are_refused(repair, change, message):
    with pytest.raises(ZoovetError, match=message):
        replace(repair, **change)
