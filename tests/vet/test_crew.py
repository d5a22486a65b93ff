"""Workers answer as this process does; what one network does to its process is told of that network alone."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from zoovet.jobs import Processes, process_workers
from zoovet.networks import Graph, Networks
from zoovet.vet import Candidate, Failure, candidates_for, crew
from zoovet.vet.batches import Answer, Batch, Batches, Detectors
from zoovet.vet.crew import answers_of

DEADLY = 77.0
NetworksOf = Callable[..., Networks]


class DeadlyDetectors:
    """Detectors that a network's first weight kills, as the kernel does where memory is short."""

    def __init__(self, device: str) -> None:
        pass

    def answer(self, batch: Batch) -> Answer:
        first = batch.networks.flat()[:, 0].tolist()
        if DEADLY in first:
            os.kill(os.getpid(), signal.SIGKILL)
        return Answer(0.5, tuple(first))


@pytest.fixture
def candidate(tmp_path: Path, relu_graph: Graph, write_detector: Callable[..., Path]) -> Candidate:
    (found,) = candidates_for("detector", given=write_detector(tmp_path / "detector.safetensors", [relu_graph]))
    return found


def batches_of(candidate: Candidate, *files: Networks, size: int = 3) -> list[Batch]:
    gathered, batches = Batches(size), list[Batch]()
    for place, networks in enumerate(files):
        batches += gathered.add(place, networks, candidate)
    return batches + list(gathered.rest())


def test_processes_answer_as_this_one_does(candidate: Candidate, relu_graph: Graph, drawn: NetworksOf) -> None:
    batches = batches_of(candidate, drawn(relu_graph, 2, 1), drawn(relu_graph, 5, 2))
    own = Detectors("cpu")
    found = answers_of([batches[0], None, *batches[1:]], Processes(2), "cpu")
    answers = {batch.parts: answer for batch, answer in found}
    assert answers == {batch.parts: own.answer(batch) for batch in batches}


def test_only_a_batch_is_sent_not_the_file_that_it_is_of(
    candidate: Candidate, relu_graph: Graph, drawn: NetworksOf
) -> None:
    (first, *_) = batches_of(candidate, drawn(relu_graph, 300))
    flat = first.networks.flat()
    assert len(pickle.dumps(crew._Scoring(first))) < 2 * flat.numel() * flat.element_size() + 20_000


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_dies_takes_only_what_killed_it_with_it(
    candidate: Candidate, relu_graph: Graph, drawn: NetworksOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "Detectors", DeadlyDetectors)
    monkeypatch.setattr(process_workers, "get_context", lambda _: get_context("fork"))
    networks = drawn(relu_graph, 8, 1)
    flat = networks.flat()
    flat[:, 0] = torch.arange(8)
    flat[4, 0] = DEADLY
    batches = batches_of(candidate, Networks.from_flat(relu_graph, flat))
    found: dict[int, Any] = {}
    for batch, answer in answers_of(batches, Processes(1), "cpu"):
        places = [part.start + index for part in batch.parts for index in range(len(part.networks))]
        found |= dict(zip(places, answer.findings, strict=True))
    failure = found.pop(4)
    assert found == {index: float(index) for index in range(8) if index != 4}
    assert isinstance(failure, Failure)
    assert failure.message == (
        "it could not be scored: its process ended: killed by SIGKILL, as happens where memory is short"
    )
