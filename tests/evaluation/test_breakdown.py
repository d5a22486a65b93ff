from __future__ import annotations

from dataclasses import replace

import pytest

from zoovet.evaluation.breakdown import detection_groups, repair_groups


def test_detection_groups_by_activation_and_band(detection):
    groups = {group.name: group for group in detection_groups(detection)}
    assert list(groups) == ["all", "relu", "tanh", "ASR 0.5 – 0.7", "ASR 0.7 – 0.9", "ASR 0.9 – 1"]
    assert groups["all"].aucs == pytest.approx({"ScaleGMN": 15 / 16, "StatNN": 12 / 16})
    assert (groups["all"].caught, groups["all"].false_alarms) == (0.75, 0.0)
    assert groups["relu"].aucs["ScaleGMN"] == 1.0
    assert groups["relu"].caught == 0.5
    weakest = groups["ASR 0.5 – 0.7"]
    assert (weakest.num_trojaned, weakest.num_healthy, weakest.caught) == (1, 4, 0.0)
    assert weakest.aucs["ScaleGMN"] == 0.75
    assert groups["ASR 0.9 – 1"].num_trojaned == 2  # an ASR of 1 is in the last band


def test_a_group_of_one_class_has_no_auc(detection):
    poisoned = [False, True, False, True, False, False, False, False]
    groups = {group.name: group for group in detection_groups(replace(detection, poisoned=poisoned))}
    assert groups["tanh"].aucs == {}
    assert groups["tanh"].caught is None
    assert groups["tanh"].false_alarms == 0.5


def test_one_activation_is_not_listed_on_its_own(detection, repair):
    assert "relu" not in {group.name for group in detection_groups(replace(detection, activations=("relu",) * 8))}
    assert all("relu" not in group.name for group in repair_groups(replace(repair, activations=("relu",) * 8)))


def test_repair_groups(repair):
    groups = {group.name: group for group in repair_groups(repair)}
    assert groups["trojaned"].asr == pytest.approx((0.8, 0.1))
    assert groups["trojaned"].clean_accuracy == pytest.approx((0.75, 0.73))
    assert groups["trojaned"].ra == pytest.approx((0.15, 0.6))
    assert groups["healthy"].clean_accuracy == pytest.approx((0.85, 0.84))
    assert groups["trojaned, tanh"].asr == pytest.approx((0.85, 0.15))
    assert groups["trojaned, ASR 0.9 – 1"].num_networks == 2
    assert "trojaned, ASR 0 – 0.5" not in groups
    assert not any(name.startswith("healthy, ASR") for name in groups)
