from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.evaluation.figures import headline_figures, write_figures
from zoovet.evaluation.measured import Measured


def only_trojaned(results):
    keep = np.flatnonzero(results.poisoned)
    changes = {
        name: [getattr(results, name)[place] for place in keep]
        for name in ("network_ids", "base_ids", "activations", "poisoned")
    }
    for when in ("before", "after"):
        for figure in ("clean_accuracy", "asr", "ra"):
            changes[f"{figure}_{when}"] = getattr(results, f"{figure}_{when}")[keep]
    changes["relative_changes"] = results.relative_changes[keep]
    changes["channel_changes"] = tuple(change[keep] for change in results.channel_changes)
    return replace(results, **changes)


def test_detection_figures_known_by_hand(figures):
    detection = figures["detection"]
    assert detection["auc"] == pytest.approx(15 / 16)
    assert detection["accuracy"] == pytest.approx(7 / 8)
    assert detection["tpr_at_1pct_fpr"] == pytest.approx(3 / 4)
    assert detection["statnn_auc"] == pytest.approx(12 / 16)
    assert detection["auc_minus_statnn_auc"] == pytest.approx(3 / 16)
    assert detection["rivals"]["StatNN"]["accuracy"] == pytest.approx(5 / 8)
    counts = ("num_networks", "num_trojaned", "num_healthy", "num_bases")
    assert [detection[name] for name in counts] == [8, 4, 4, 4]


def test_repair_figures_are_those_of_the_trojaned_networks(figures):
    repair = figures["repair"]
    expected = {
        "clean_accuracy_before": 0.75,
        "clean_accuracy_after": 0.73,
        "clean_accuracy_lost": 0.02,
        "asr_before": 0.8,
        "asr_after": 0.1,
        "ra_before": 0.15,
        "ra_after": 0.6,
        "healthy_accuracy_before": 0.85,
        "healthy_accuracy_after": 0.84,
        "healthy_accuracy_lost": 0.01,
        "num_networks": 8,
        "num_trojaned": 4,
        "num_healthy": 4,
    }
    assert {name: repair[name] for name in expected} == pytest.approx(expected)


def test_seed_and_wall_time_are_kept(figures):
    assert figures["seed"] == 3
    assert figures["wall_time_seconds"] == 425.0


def test_every_figure_lies_in_its_interval(figures):
    for part in (figures["detection"], figures["detection"]["rivals"]["StatNN"], figures["repair"]):
        names = [name for name in part if f"{name}_interval" in part]
        assert len(names) >= 3
        for name in names:
            low, high = part[f"{name}_interval"]
            assert low <= part[name] <= high
    low, high = figures["repair"]["asr_after_interval"]
    assert low < high


def test_a_difference_is_paired(detection):
    same = replace(detection, rivals={"StatNN": detection.scores}, rival_thresholds={"StatNN": 0.5})
    difference = headline_figures(Measured(detection=same), seed=0, wall_time_seconds=1, num_resamples=50)["detection"]
    assert difference["auc_minus_statnn_auc_interval"] == [0, 0]
    assert difference["auc_interval"][0] < difference["auc_interval"][1]


def test_parts_not_evaluated_are_left_out_and_do_not_move_the_others(detection, repair, figures):
    alone = headline_figures(Measured(detection=detection), seed=3, wall_time_seconds=1, num_resamples=50)
    assert "repair" not in alone
    assert alone["detection"] == figures["detection"]
    assert (
        headline_figures(Measured(repair=repair), seed=3, wall_time_seconds=1, num_resamples=50)["repair"]
        == figures["repair"]
    )


def test_figures_of_nobody_are_null(detection, repair):
    without = headline_figures(
        Measured(detection=replace(detection, rivals={}, rival_thresholds={}), repair=only_trojaned(repair)),
        seed=0,
        wall_time_seconds=1,
        num_resamples=50,
    )
    assert without["detection"]["statnn_auc"] is None
    assert without["detection"]["rivals"] == {}
    assert without["repair"]["healthy_accuracy_after"] is None
    assert without["repair"]["num_healthy"] == 0
    assert without["repair"]["asr_after"] == pytest.approx(0.1)


def test_bad_detection_results_are_named(detection):
    with pytest.raises(ZoovetError, match="only healthy"):
        headline_figures(
            Measured(detection=replace(detection, poisoned=[False] * 8)), seed=0, wall_time_seconds=1, num_resamples=50
        )
    twins = replace(detection, rivals={"ScaleGMN": detection.scores}, rival_thresholds={"ScaleGMN": 0.5})
    with pytest.raises(ZoovetError, match="a rival has the detector's own name, 'ScaleGMN'"):
        headline_figures(Measured(detection=twins), seed=0, wall_time_seconds=1, num_resamples=50)


def test_figures_are_strict_json(figures, tmp_path):
    write_figures(tmp_path / "figures.json", figures)
    text = (tmp_path / "figures.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) == figures
    assert list(tmp_path.iterdir()) == [tmp_path / "figures.json"]
