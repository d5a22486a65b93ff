"""Processes answer as this one does; one that dies takes only what killed it with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from zoovet.networks import Graph, Networks
from zoovet.vet import Candidate, Failure, candidates_for, crew
from zoovet.vet.batches import Answer, Batch, Batches, Detectors
from zoovet.vet.crew import Crew

DEADLY = 77.0
NetworksOf = Callable[..., Networks]


def deadly_work(line: Any, device: str) -> None:
    """A worker that a network's first weight kills, as the kernel does where memory is short."""
    if device == "none":
        os.kill(os.getpid(), signal.SIGKILL)
    line.send(None)
    while True:
        job = line.recv()
        if (job.flat[:, 0] == DEADLY).any():
            os.kill(os.getpid(), signal.SIGKILL)
        line.send(Answer(0.5, tuple(map(float, job.flat[:, 0]))))  # type: ignore[arg-type]  # sent through


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers die; they are copies of this process, since a new one takes seconds to import PyTorch."""
    monkeypatch.setattr(crew, "_work", deadly_work)
    monkeypatch.setattr(crew, "get_context", lambda _: get_context("fork"))


@pytest.fixture
def candidate(tmp_path: Path, relu_spec: Graph, write_detector: Callable[..., Path]) -> Candidate:
    (found,) = candidates_for("detector", given=write_detector(tmp_path / "detector.safetensors", [relu_spec]))
    return found


def batches_of(candidate: Candidate, *files: Networks, size: int = 3) -> list[Batch]:
    gathered, batches = Batches(size), list[Batch]()
    for place, networks in enumerate(files):
        batches += gathered.add(place, networks, candidate)
    return batches + list(gathered.rest())


def test_processes_answer_as_this_one_does(candidate: Candidate, relu_spec: Graph, drawn: NetworksOf) -> None:
    batches = batches_of(candidate, drawn(relu_spec, 2, 1), drawn(relu_spec, 5, 2))
    own = Detectors("cpu")
    answers = {batch.parts: answer for batch, answer in Crew(2, "cpu").answers([batches[0], None, *batches[1:]])}
    assert answers == {batch.parts: own.answer(batch) for batch in batches}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_dies_takes_only_what_killed_it_with_it(
    candidate: Candidate, relu_spec: Graph, drawn: NetworksOf, deadly: None
) -> None:
    networks = drawn(relu_spec, 8, 1)
    flat = networks.flat()
    flat[:, 0] = torch.arange(8)
    flat[4, 0] = DEADLY
    batches = batches_of(candidate, Networks.from_flat(relu_spec, flat))
    found: dict[int, Any] = {}
    for batch, answer in Crew(1, "cpu").answers(batches):
        places = [part.start + index for part in batch.parts for index in range(len(part.networks))]
        found |= dict(zip(places, answer.findings, strict=True))
    failure = found.pop(4)
    assert found == {index: float(index) for index in range(8) if index != 4}
    assert isinstance(failure, Failure)
    assert failure.message == ("scoring it ended its process (killed by SIGKILL, as happens where memory is short)")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_where_no_process_can_be_had_every_network_says_so(
    candidate: Candidate, relu_spec: Graph, drawn: NetworksOf, deadly: None
) -> None:
    for _, answer in Crew(1, "none").answers(batches_of(candidate, drawn(relu_spec, 4))):
        for failure in answer.findings:
            assert isinstance(failure, Failure)
            assert failure.message.startswith("no process could be started to score it (killed by SIGKILL")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_no_process_outlives_a_scan_that_is_left(
    candidate: Candidate, relu_spec: Graph, drawn: NetworksOf, deadly: None
) -> None:
    one = Crew(1, "cpu")
    answers = one.answers(batches_of(candidate, drawn(relu_spec, 9)))
    next(answers)
    (worker,) = one._workers
    assert worker.process.is_alive()
    answers.close()
    assert not worker.process.is_alive()
