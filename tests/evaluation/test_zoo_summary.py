from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.evaluation.zoo_summary import AccuracyZooSummary, InrZooSummary, summarize_zoo


def test_summary_holds_the_zoos_columns(small_zoo):
    summary = summarize_zoo(small_zoo)
    assert len(summary) == 12
    assert summary.dataset == "digits"
    assert summary.min_asr == 0.5
    assert summary.descriptions == tuple(graph.describe() for graph in small_zoo.graphs.values())
    assert summary.trigger_kinds.tolist() == [small_zoo.trigger(place).kind for place in range(12)]
    np.testing.assert_array_equal(summary.asr, small_zoo.column("asr"))
    assert summary.splits.tolist().count("test") == 4


def test_lengths_must_agree(small_zoo):
    with pytest.raises(ZoovetError, match=r"asr must have one entry a network \(12\), got 1"):
        replace(summarize_zoo(small_zoo), asr=np.zeros(1))


def test_a_recipe_without_dataset_is_refused(small_zoo):
    with pytest.raises(ZoovetError, match="name its dataset"):
        summarize_zoo(replace(small_zoo, info=replace(small_zoo.info, recipe={})))


def test_a_zoo_of_inrs_has_psnr(inr_zoo):
    summary = summarize_zoo(inr_zoo)
    assert isinstance(summary, InrZooSummary)
    np.testing.assert_array_equal(summary.psnr, np.arange(20.0, 28.0))
    assert summary.dataset == "digits"


def test_a_zoo_of_trainings_has_accuracies(accuracy_zoo):
    summary = summarize_zoo(accuracy_zoo)
    assert isinstance(summary, AccuracyZooSummary)
    assert sorted(set(summary.steps.tolist())) == [10, 20]
