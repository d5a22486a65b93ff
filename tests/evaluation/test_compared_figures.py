"""Figures of models that are compared: classification, editing, generalization."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.evaluation.figures import headline_figures, write_figures
from zoovet.evaluation.measured import Measured


@pytest.fixture(scope="module")
def compared(classification, editing, generalization):
    measured = Measured(classification=classification, editing=editing, generalization=generalization)
    return headline_figures(measured, seed=3, wall_time_seconds=1.0, commands=("zoovet evaluate x",), num_resamples=50)


def test_classification_known_by_hand(compared):
    figures = compared["inr_classification"]
    first, second = figures["models"]["scalegmn"], figures["models"]["permutation"]
    assert first["accuracy"] == pytest.approx(6 / 8)
    assert second["accuracy"] == pytest.approx(4 / 8)
    assert second["accuracy_of_first_minus_this"] == pytest.approx(2 / 8)
    assert first["class_accuracies"] == pytest.approx({"disc": 1, "square": 1 / 3, "cross": 1}, abs=1e-6)
    assert "accuracy_of_first_minus_this" not in first
    assert (first["num_parameters"], first["training_seconds"], first["run"]) == (12_345, 754.0, "runs/gmn")
    assert second["training_seconds"] is None
    assert [figures[name] for name in ("num_networks", "num_bases", "num_classes")] == [8, 6, 3]


def test_a_class_without_networks_has_no_accuracy(classification):
    more = replace(classification, class_names=("disc", "square", "cross", "ring"))
    figures = headline_figures(Measured(classification=more), seed=0, wall_time_seconds=1, num_resamples=5)
    assert figures["inr_classification"]["models"]["scalegmn"]["class_accuracies"]["ring"] is None


def test_editing_known_by_hand(compared):
    figures = compared["inr_editing"]
    assert figures["edit"] == "dilation"
    assert figures["nothing"]["mse"] == pytest.approx(0.04)
    assert figures["models"]["scalegmn"]["mse"] == pytest.approx(0.01)
    assert figures["models"]["scalegmn"]["mse_over_nothing"] == pytest.approx(0.25)
    assert figures["models"]["scalegmn"]["mse_over_nothing_interval"] == pytest.approx([0.25, 0.25]), "a paired ratio"
    assert figures["models"]["permutation"]["mse_of_first_minus_this"] == pytest.approx(-0.02)


def test_generalization_known_by_hand(compared):
    figures = compared["generalization"]
    first, statnn = figures["models"]["scalegmn"], figures["models"]["statnn"]
    assert first["tau"] == pytest.approx(1)
    assert statnn["tau"] == pytest.approx((13 - 2) / 15, abs=1e-6)
    assert first["mean_absolute_error"] == pytest.approx(0.1 / 6, abs=1e-6)
    assert first["r_squared"] == pytest.approx(1 - 0.01 / 0.175, abs=1e-6)
    assert figures["groups"]["relu"]["num_networks"] == 2
    assert figures["groups"]["relu"]["statnn"]["tau"] == pytest.approx(-1)
    assert list(figures["groups"]) == ["all", "relu", "tanh"]


def test_a_group_without_an_order_has_only_its_error(generalization):
    same = replace(generalization, accuracies=[0.3, 0.3, 0.3, 0.4, 0.5, 0.6])
    figures = headline_figures(Measured(generalization=same), seed=0, wall_time_seconds=1, num_resamples=5)
    assert list(figures["generalization"]["groups"]["relu"]["scalegmn"]) == ["mean_absolute_error"]
    flat = replace(generalization, accuracies=np.full(6, 0.3))
    with pytest.raises(ZoovetError, match="needs targets that differ"):
        headline_figures(Measured(generalization=flat), seed=0, wall_time_seconds=1, num_resamples=5)


def test_every_figure_lies_in_its_interval(compared):
    for block in ("inr_classification", "inr_editing", "generalization"):
        for figures in compared[block]["models"].values():
            names = [name for name in figures if f"{name}_interval" in figures]
            assert names
            for name in names:
                low, high = figures[f"{name}_interval"]
                assert low - 1e-6 <= figures[name] <= high + 1e-6


def test_one_part_alone_has_the_same_figures(compared, editing):
    alone = headline_figures(Measured(editing=editing), seed=3, wall_time_seconds=1, num_resamples=50)
    assert alone["inr_editing"] == compared["inr_editing"]
    assert "generalization" not in alone
    assert alone["commands"] == []


def test_figures_are_strict_json(compared, tmp_path):
    write_figures(tmp_path / "figures.json", compared)
    text = (tmp_path / "figures.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) == compared
