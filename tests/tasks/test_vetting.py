"""What is not a finite number is never given as an answer: it is an error that names the network."""

from __future__ import annotations

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, mlp
from zoovet.tasks import AccuracyPredictor, Classifier, Detector, InrEditor
from zoovet.tasks.editor import Editor
from zoovet.tasks.metanetworks import build_metanetwork
from zoovet.tasks.vetting import require_finite_answers

GRAPH = mlp((3, 4, 2), "relu")


def networks_with_an_overflow() -> Networks:
    """Three, of which the second's numbers leave the range of float32 when they are multiplied."""
    flat = torch.randn(3, GRAPH.num_parameters, generator=torch.Generator().manual_seed(0))
    flat[1] = 3e38
    return Networks.from_flat(GRAPH, flat)


@pytest.mark.parametrize("reader", ["classifier", "accuracy predictor", "editor of INRs"])
def test_predictions_that_overflow_are_named(reader: str) -> None:
    config = ScaleGMNConfig(width=4, num_layers=1, output="weights" if reader.startswith("editor") else "graph")
    metanetwork, networks = build_metanetwork(config, 0, "detector"), networks_with_an_overflow()
    answer = {
        "classifier": lambda: Classifier(metanetwork, [GRAPH]).predict(networks),
        "accuracy predictor": lambda: AccuracyPredictor(metanetwork, [GRAPH]).predict(networks),
        "editor of INRs": lambda: InrEditor(Editor(metanetwork), [GRAPH]).edit(networks),
    }[reader]
    with pytest.raises(ZoovetError, match=rf"what the {reader} says of network 1 is not finite \(1 of 3 answers are"):
        answer()


def test_a_score_that_is_no_number_is_flagged() -> None:
    detector = Detector(build_metanetwork(ScaleGMNConfig(width=4, num_layers=1), 0, "detector"), [GRAPH], 0.99)
    networks = networks_with_an_overflow()
    assert detector.score(networks).isfinite().tolist() == [True, False, True]
    assert detector.flag(networks).tolist() == [False, True, False]


def test_answers_of_any_shape_are_checked() -> None:
    for answers in (torch.zeros(3), torch.zeros(3, 2), torch.zeros(3, 2, 2)):
        assert require_finite_answers(answers, "reader") is answers
        answers[2].fill_(-torch.inf)
        with pytest.raises(ZoovetError, match="of network 2 is not finite"):
            require_finite_answers(answers, "reader")
