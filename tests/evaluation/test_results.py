from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zoovet.errors import ZoovetError
from zoovet.evaluation.results import ComparedModel, DetectionResults, RepairResults


def assert_same(first, second):
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if field.name == "models":
            assert one == other
            continue
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


@pytest.mark.parametrize("part", ["classification", "editing", "generalization"])
def test_results_of_a_comparison_survive_a_file(part, request, tmp_path):
    results = request.getfixturevalue(part)
    results.save(tmp_path / "results.parquet")
    assert_same(results, type(results).load(tmp_path / "results.parquet"))
    with pytest.raises(ZoovetError, match=f"holds no detection results of zoovet, but {part}"):
        DetectionResults.load(tmp_path / "results.parquet")


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
        ({"asr": [0.5] * 7}, r"asr must have one entry a network \(8\), got the shape \(7,\)"),
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


def test_what_is_taken_for_what(classification):
    np.testing.assert_array_equal(classification.confusion("scalegmn"), [[3, 0, 0], [1, 1, 1], [0, 0, 2]])
    np.testing.assert_array_equal(classification.correct("permutation"), [1, 0, 1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("classification", {"labels": [0] * 7 + [3]}, "labels of the network '00007-0' must be 0 to 2, got 3"),
        (
            "classification",
            {"predictions": {"scalegmn": [0] * 8}},
            r"every model needs predictions; got models \['perm",
        ),
        ("classification", {"base_ids": [0]}, r"base_ids must have one entry a network \(8\), got 1"),
        ("classification", {"models": (), "predictions": {}}, "a comparison needs at least one model"),
        ("editing", {"mse_of_nothing": [np.nan] * 4}, "mse_of_nothing of the network '00000-0' is NaN"),
        (
            "editing",
            {"mse": {"scalegmn": [0.1] * 4, "permutation": [0.1] * 3}},
            "mse of permutation must have one entry",
        ),
        ("generalization", {"accuracies": [0.1]}, "accuracies must have one entry a network"),
        ("generalization", {"network_ids": ("a",) * 6}, "the network 'a' occurs twice"),
    ],
)
def test_results_of_a_comparison_that_do_not_fit_are_refused(part, change, message, request):
    with pytest.raises(ZoovetError, match=message):
        replace(request.getfixturevalue(part), **change)


def test_two_models_of_one_name_are_refused(editing):
    twins = (ComparedModel(key="scalegmn", name="one"), ComparedModel(key="scalegmn", name="other"))
    with pytest.raises(ZoovetError, match="two models of the comparison are both 'scalegmn'"):
        replace(editing, models=twins)


def test_an_asr_that_nobody_knows_stays_unknown(detection, tmp_path):
    unknown = replace(detection, asr=[np.nan] * 8)
    unknown.save(tmp_path / "detection.parquet")
    again = DetectionResults.load(tmp_path / "detection.parquet")
    assert np.isnan(again.asr).all()
    np.testing.assert_array_equal(again.scores, detection.scores)
