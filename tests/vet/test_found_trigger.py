"""The trigger that was found, as pictures: what is shown is what the network was shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from zoovet import Images, Network
from zoovet.evidence import ClassEvidence, class_evidence
from zoovet.vet import runnable
from zoovet.vet.found_trigger import best_search, found_trigger


@pytest.fixture
def network(stamped: Callable[[int | None], Network]) -> Network:
    return stamped(3)


@pytest.fixture
def evidence(network: Network, pictures: Images, stranger_reader: Any) -> ClassEvidence:
    config = stranger_reader.evidence_config("normal")
    return class_evidence(runnable(network), pictures.pixels, pictures.labels, config)


def test_the_stamp_is_found_where_it_is(network: Network, pictures: Images, evidence: ClassEvidence) -> None:
    found = found_trigger(network, pictures, pictures.labels, evidence, 3)
    assert found is not None
    assert (found.target, found.setting) == (3, 3)
    assert found.search.startswith("patch")
    assert (found.flips, found.flips_before) == (1.0, 0.0)
    assert torch.nonzero(found.mask).amin(0).tolist() == [9, 9]
    assert torch.nonzero(found.mask).amax(0).tolist() == [11, 11]
    checker = found.picture[0, 9:, 9:] > 128
    assert checker.flatten().tolist() == [True, False] * 4 + [True]
    assert set(found.picture[0, :9].flatten().tolist()) == {128}


def test_examples_say_what_the_network_answers_to_these_very_pictures(
    network: Network, pictures: Images, evidence: ClassEvidence
) -> None:
    found = found_trigger(network, pictures, pictures.labels, evidence, 3)
    assert found is not None
    assert len({example.label for example in found.examples}) == 3
    for example in found.examples:
        before, after = network.probabilities(Images(pixels=torch.stack([example.image, example.triggered])))
        assert (int(before.argmax()), int(after.argmax())) == (example.before, example.after) == (example.label, 3)
        assert example.before_probability == pytest.approx(float(before.max()))
        assert example.after_probability == pytest.approx(float(after.max()))
        assert bool((example.image != example.triggered).any())


def test_of_images_that_are_all_of_the_class_there_are_no_examples(
    network: Network, pictures: Images, evidence: ClassEvidence
) -> None:
    own = pictures[pictures.required_labels == 3]
    found = found_trigger(network, own, own.labels, evidence, 3)
    assert found is not None
    assert (found.examples, found.flips) == ((), 0.0)


def test_the_search_that_stands_out_most_is_taken(evidence: ClassEvidence) -> None:
    standings = evidence.standings()
    name = best_search(evidence, 3)
    assert name is not None
    assert name.startswith("patch")
    assert float(standings[f"{name}.flips"].argmax()) == 3
    nothing = ClassEvidence(evidence.evidence, {}, {}, evidence.examined, evidence.num_classes)
    assert best_search(nothing, 3) is None
