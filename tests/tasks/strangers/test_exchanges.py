"""What exchanges classes speaks for itself, where it is more than healthy networks show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evidence.class_features import FEATURES, KINDS, ClassFeatures, greatest_exchange
from zoovet.tasks.strangers import training
from zoovet.tasks.strangers.config import ReaderTraining, StrangerConfig
from zoovet.tasks.strangers.examined import Examined
from zoovet.tasks.strangers.exchanges import fitted_exchange

EXCHANGE, SQUARES = FEATURES.index("exchange"), KINDS.index("usual_patch_0.2")
CONFIG = StrangerConfig(training=ReaderTraining(num_members=1, num_steps=40))


def exchanging(features: ClassFeatures, share: float) -> ClassFeatures:
    values = features.values.clone()
    values[:, :, EXCHANGE] = 0.0
    values[:, SQUARES, EXCHANGE] = share
    return ClassFeatures(values, features.present)


def test_the_line_leads_from_what_is_usual_to_what_is_rare(rows: Callable[..., list[Examined]]) -> None:
    features = rows(1)[0].labelled.features
    healthy = [exchanging(features, 0.1 + 0.001 * step) for step in range(101)]
    assert greatest_exchange(healthy[50]) == pytest.approx(0.15)
    line = fitted_exchange(healthy)
    assert line(0.15) == pytest.approx(-4, abs=0.1)
    assert line(0.2) < 1.9
    assert line(0.5) > 4
    same = fitted_exchange([healthy[0]] * 5)
    assert same(0.1) == pytest.approx(-4)
    assert same(0.11) < same(0.12) == pytest.approx(2)
    with pytest.raises(ZoovetError, match="needs healthy networks, got none"):
        fitted_exchange([])


def test_a_network_whose_classes_are_exchanged_is_flagged_without_a_class_that_stands_out(
    rows: Callable[..., list[Examined]],
) -> None:
    known, generator = [], torch.Generator().manual_seed(5)
    for row in rows(60):
        share = 0.1 + 0.05 * float(torch.rand((), generator=generator))
        known.append(replace(row, labelled=replace(row.labelled, features=exchanging(row.labelled.features, share))))
    detector, *_ = training.stranger_detector(known, CONFIG, {})
    own = detector.by_effort["thorough"]
    few, healthy = (row.labelled.features for row in known[:4] if not row.labelled.is_trojaned)
    assert (len(few.values), len(healthy.values)) == (6, 10)
    _, usual, says_so = training.read_with_exchange(own.readers, own.exchange, healthy)
    _, much, says_it = training.read_with_exchange(own.readers, own.exchange, exchanging(healthy, 0.6))
    _, some, says_some = training.read_with_exchange(own.readers, own.exchange, exchanging(healthy, 0.32))
    assert (says_so, says_some, says_it) == (False, False, True)
    assert own.exchange(0.32) > usual
    assert some == pytest.approx(float(own.readers.read(exchanging(healthy, 0.32))[1]))
    threshold, calibration = detector.threshold(0.05, "thorough", 10), own.worth_of(10).calibration
    assert float(calibration(torch.tensor(usual))) < threshold < float(calibration(torch.tensor(much)))
    # Of six classes any trigger exchanges some.
    assert not training.read_with_exchange(own.readers, own.exchange, exchanging(few, 0.6))[2]
