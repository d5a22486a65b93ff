"""Networks of many files in batches: those of one graph that go to one detector, some at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from torch import dtype

from zoovet.evidence.concurrency import operations_on_one_thread
from zoovet.networks import Graph, InputScaling, Networks
from zoovet.tasks import Detector
from zoovet.tasks.checkpoints import CHECKPOINT_NAME
from zoovet.vet.candidates import Candidate
from zoovet.vet.compiled_inversion import compile_inversion
from zoovet.vet.failures import Failure, failure_of
from zoovet.vet.verdicts import Finding, find

__all__ = ["Answer", "Batch", "Batches", "Detectors", "Part"]

_NUM_DIGITS = 12


@dataclass(frozen=True)
class Part:
    """Some of a file's networks.

    Attributes:
        place: Number of the file among those that are scanned.
        start: Number of the first network in the file.
        networks: The networks.
    """

    place: int
    start: int
    networks: Networks


@dataclass(frozen=True)
class Batch:
    """Networks of one graph, input scaling and precision, of one file or several, for one detector."""

    candidate: Candidate
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return sum(len(part.networks) for part in self.parts)

    @property
    def networks(self) -> Networks:
        """All of them, in the order of the parts."""
        return Networks.concatenate([part.networks for part in self.parts])


@dataclass(frozen=True)
class Answer:
    """What a detector said of a batch.

    Attributes:
        threshold: The detector's own; not a number where it could not be opened.
        findings: Of each network in turn, or why there is none.
        note: What the user should know of how they came about, if anything.
        version: The detector's name and the first digits of its file's SHA-256; ``None`` where it could not be opened.
    """

    threshold: float
    findings: tuple[Finding | Failure, ...]
    note: str | None = None
    version: str | None = None


@dataclass
class Batches:
    """Gathers networks until there are enough of a kind for a batch.

    Attributes:
        size: Networks in a batch, at most.
    """

    size: int
    _waiting: dict[tuple[Candidate, Graph, InputScaling | None, dtype], list[Part]] = field(default_factory=dict)

    def add(self, place: int, parts: Sequence[Networks], candidate: Candidate) -> Iterator[Batch]:
        """Take in a file's networks, in parts that follow each other; gives the batches that are full."""
        number = 0
        for networks in parts:
            key = (candidate, networks.graph, networks.graph.input_scaling, networks.dtype)
            start = 0
            while start < len(networks):
                waiting = self._waiting.setdefault(key, [])
                room = self.size - sum(len(part.networks) for part in waiting)
                waiting.append(Part(place, number + start, networks[start : start + room]))
                start += room
                if sum(len(part.networks) for part in waiting) == self.size:
                    yield Batch(candidate, tuple(self._waiting.pop(key)))
            number += len(networks)

    def rest(self) -> Iterator[Batch]:
        """The batches that are not full."""
        for key in list(self._waiting):
            yield Batch(key[0], tuple(self._waiting.pop(key)))


class Detectors:
    """Scores batches in this process; each detector is opened once.

    Args:
        device: Where to compute.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._opened: dict[Path, Detector] = {}
        self._notes: dict[Path, str | None] = {}
        self._versions: dict[Path, str] = {}

    def answer(self, batch: Batch) -> Answer:
        """Score a batch; where that fails, its networks one by one, so that one does not take the others with it."""
        with _threads_of(self._device):
            return self._answer(batch)

    def _answer(self, batch: Batch) -> Answer:
        networks = batch.networks
        try:
            detector = self.opened(batch.candidate.path)
        except Exception as error:  # whatever it is, other files go to other detectors
            return Answer(float("nan"), (failure_of(error),) * len(networks))
        note, version = self._notes[batch.candidate.path], self.version(batch.candidate)
        try:
            return Answer(detector.threshold, tuple(find(detector, networks)), note, version)
        except Exception:  # told by what it does to each network alone
            return Answer(detector.threshold, tuple(_alone(detector, own) for own in networks), note, version)

    def findings(self, path: Path, networks: Networks) -> list[Finding]:
        """What the detector of a file computes of networks of one graph.

        Raises:
            ZoovetError: It cannot be opened, was not trained on their graph, or a weight is NaN or infinite.
        """
        with _threads_of(self._device):
            return find(self.opened(path), networks)

    def opened(self, path: Path) -> Detector:
        """A detector, read from its file at the first call.

        Raises:
            ZoovetError: It is missing, damaged, or no detector.
        """
        if path not in self._opened:
            detector = Detector.load(path, device=self._device)
            self._notes[path] = compile_inversion(detector) if self._device == "cpu" else None
            self._opened[path] = detector
        return self._opened[path]

    def version(self, candidate: Candidate) -> str:
        """A detector's name, and the first digits of its file's SHA-256.

        Raises:
            OSError: It is missing.
        """
        if candidate.path not in self._versions:
            place = candidate.path / CHECKPOINT_NAME if candidate.path.is_dir() else candidate.path
            with place.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._versions[candidate.path] = f"{candidate.model or candidate.path.name}-{digest[:_NUM_DIGITS]}"
        return self._versions[candidate.path]


def _threads_of(device: str) -> AbstractContextManager[None]:
    """Threads that share so small networks wait for each other longer than they work."""
    return operations_on_one_thread() if device == "cpu" else nullcontext()


def _alone(detector: Detector, network: Networks) -> Finding | Failure:
    try:
        (finding,) = find(detector, network)
    except Exception as error:  # one network's failure is its own
        return failure_of(error)
    return finding
