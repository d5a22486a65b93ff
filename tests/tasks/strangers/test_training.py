"""A detector is calibrated on strangers, saved and opened again; what is left out is never trained on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidenceConfig
from zoovet.evidence.class_features import KINDS, SEARCHES, ClassFeatures
from zoovet.tasks.strangers import training
from zoovet.tasks.strangers.config import ReaderTraining, StrangerConfig
from zoovet.tasks.strangers.detector import StrangerDetector
from zoovet.tasks.strangers.efforts import EFFORTS, as_sought
from zoovet.tasks.strangers.examined import Examined, LabelledFeatures
from zoovet.tasks.strangers.readers import Readers

CONFIG = StrangerConfig(training=ReaderTraining(num_members=1, num_steps=40))


def test_what_is_left_out_is_not_trained_on(
    rows: Callable[..., list[Examined]], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, asked, seen = rows(12), rows(15), []
    make = training.trained_readers

    def watched(networks: list[LabelledFeatures], *options: object) -> Readers:
        seen.append({id(network) for network in networks})
        return make(networks, ReaderTraining(num_members=1, num_steps=2), CONFIG.reader)

    monkeypatch.setattr(training, "trained_readers", watched)
    told: list[str] = []
    left = training.left_out(known, asked, CONFIG, "dataset", effort="thorough", told=told.append)
    assert told == ["digits", "letters", "shapes"]
    assert sorted(row.network_id for row in left.rows) == sorted(row.network_id for row in asked)
    for kind, used in zip(told, seen, strict=True):
        without = {row.base_id for row in asked if row.dataset == kind}
        allowed = {id(row.labelled) for row in known if row.dataset != kind and row.base_id not in without}
        assert used == allowed
    with pytest.raises(ZoovetError, match="all networks are of the attack 'patch'; nothing is left"):
        training.left_out(known, asked, CONFIG, "attack")


def test_a_detector_answers_the_same_after_it_was_saved(rows: Callable[..., list[Examined]], tmp_path: Path) -> None:
    detector, strangers, _ = training.stranger_detector(rows(60), CONFIG, {"path": "a"})
    assert [len(strangers[effort].rows) for effort in EFFORTS] == [120] * 3
    detector.save(tmp_path / "checkpoint.safetensors")
    opened = StrangerDetector.open(tmp_path)
    unseen = rows(20, seed=3)
    for effort in EFFORTS:
        answers = []
        for each in (detector, opened):
            own, sought = each.by_effort[effort], each.evidence_config(effort)
            logits = [own.readers.read(as_sought(row.labelled.features, sought))[1] for row in unseen]
            answers.append(own.worth_of(10).calibration(torch.tensor(logits)))
        torch.testing.assert_close(*answers)
        if effort == "thorough":
            assert [row.labelled.is_trojaned for row in unseen] == (answers[0] > 0.5).tolist()
        for count in (3, 10):
            threshold = opened.threshold(0.05, effort, count)
            assert threshold == pytest.approx(detector.threshold(0.05, effort, count), rel=1e-5)
            assert 0 < threshold < 1
            worth = opened.by_effort[effort].worth_of(count)
            assert torch.equal(worth.healthy, worth.healthy.sort().values)
            assert worth.cutoff == pytest.approx(detector.by_effort[effort].worth_of(count).cutoff)
    assert len({float(opened.by_effort[effort].worth_of(10).healthy[-1]) for effort in EFFORTS}) == 3
    assert opened.version.startswith("strangers-")


def test_evidence_unlike_the_parks_is_said(rows: Callable[..., list[Examined]]) -> None:
    detector, *_ = training.stranger_detector(rows(30), CONFIG, {})
    features = rows(1, seed=9)[0].labelled.features
    own, cutoff = detector.by_effort["thorough"].likeness, detector.by_effort["thorough"].worth_of(10).cutoff
    assert own.why_unlike(features, cutoff) == ""
    strange = ClassFeatures(features.values.clone(), features.present)
    strange.values[:, 4] += 40.0
    assert "deviations from the nearest known networks'" in own.why_unlike(strange, cutoff)
    assert "of change_0.5" in own.why_unlike(strange, cutoff)
    distance = own.distance(strange)
    said = re.search(r"is ([\d.]+) deviations .* \(at most ([\d.]+)\)", own.why_unlike(strange, distance - 0.002))
    assert said is not None
    assert 0 < float(said[1]) - float(said[2]) < 0.02
    few = ClassFeatures(features.values, features.present & (torch.arange(len(features.present)) < 2))
    assert "inf deviations" in own.why_unlike(few, cutoff)


def test_efforts_are_configurations_of_evidence(rows: Callable[..., list[Examined]]) -> None:
    detector, *_ = training.stranger_detector(rows(12), CONFIG, {})
    searches = {effort: set(detector.evidence_config(effort).searches) for effort in EFFORTS}
    assert searches["quick"] < searches["normal"] < searches["thorough"]
    assert detector.evidence_config("thorough") == ClassEvidenceConfig()
    features = rows(1, seed=9)[0].labelled.features
    seen = as_sought(features, detector.evidence_config("quick"))
    read = {kind for kind, there in zip(KINDS, seen.present.tolist(), strict=True) if there}
    assert read == searches["quick"] | (set(KINDS) - set(SEARCHES))
    assert not bool(seen.values[:, ~seen.present].any())
    assert torch.equal(seen.values[:, seen.present], features.values[:, seen.present])
    with pytest.raises(ZoovetError, match="the effort 'fast' is unknown"):
        detector.evidence_config("fast")
