"""Scanner: verdicts on a network, or on those of many files. One file's failure, of whatever kind, is its alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import Networks
from zoovet.printable import MAX_PATH_CHARACTERS, printable
from zoovet.vet.batches import Answer, Batch, Batches, Detectors
from zoovet.vet.candidates import Candidate, chosen_candidates
from zoovet.vet.crew import Crew
from zoovet.vet.failures import Failure, failure_of
from zoovet.vet.network import Network
from zoovet.vet.recognition import fitted, known_to, unknown_in_words, warn_of_assumed_scaling
from zoovet.vet.suspects import ReadOptions, Suspects, candidate_for, load_suspects
from zoovet.vet.verdicts import Finding, Verdict, no_verdict, verdict_of

__all__ = ["FileResult", "ScanProgress", "Scanner"]

BATCH_SIZE = 16
NUM_WORTH_A_CREW = 32
"""Networks from which on it is quicker to start processes."""
_END = object()


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan is.

    Attributes:
        num_files: Files that are done.
        num_networks: Networks that were scored.
    """

    num_files: int
    num_networks: int


@dataclass(frozen=True)
class FileResult:
    """What is said of one file.

    Attributes:
        place: Its number among those that were scanned.
        file: Its name.
        verdicts: On its networks, in their order, but for those that failed.
        failure: Why it could not be read, or some of its networks not be scored; ``None`` where all went well.
        notes: What was assumed, taken or left out when it was read, one line each.
        general_notes: How the verdicts came about; most files' are the same.
    """

    place: int
    file: str
    verdicts: tuple[Verdict, ...]
    failure: Failure | None
    notes: tuple[str, ...] = ()
    general_notes: tuple[str, ...] = ()


class Scanner:
    """Gives verdicts, each by the detector that knows the network's graph.

    Args:
        detector: A run's folder or its checkpoint file, or candidates to choose from; the shipped models' where left
            out.
        model: The only shipped model to look at, by its name.
        threshold: Probability from which a network is flagged; each detector's own where left out.
        options: What is known of files besides; :meth:`scan` needs none.
        device: Where to compute.
        workers: Processes that score many files' networks, of one thread each; 1 scores in this process.
        batch_size: Networks that are scored at a time.

    Raises:
        ZoovetError: There is no such run or model, ``workers`` is below 1, or several are to share a GPU.
    """

    def __init__(
        self,
        detector: str | Path | Sequence[Candidate] | None = None,
        *,
        model: str | None = None,
        threshold: float | None = None,
        options: ReadOptions | None = None,
        device: str = "cpu",
        workers: int = 1,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        if workers < 1:
            raise ZoovetError(f"workers must be at least 1, got {workers}")
        if workers > 1 and device != "cpu":
            raise ZoovetError(f"several processes would share {device!r}: give workers 1, got {workers}")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ZoovetError(f"threshold must be from 0 to 1, got {threshold}")
        self._candidates = chosen_candidates("detector", detector, model)
        self._threshold = threshold
        self._options = options or ReadOptions()
        self._device, self._num_workers = device, workers
        self._detectors = Detectors(device)
        self._batch_size = batch_size

    def scan(self, network: Network, images: Images | None = None) -> Verdict:
        """The verdict on one network, whatever file or module it came from.

        Args:
            network: From :func:`zoovet.read` or :func:`zoovet.from_module`.
            images: Reference images. Where nobody knows the input scaling and they have labels, it is found on them.
                Where it stays unknown, [-1, 1] is assumed, with a ``UserWarning``.

        Returns:
            ``unknown``, with the reason, where no detector knows the network's graph, or it is unlike the networks that
            the detector was trained on.

        Raises:
            ZoovetError: A number of the network is NaN or infinite, or the images do not fit it.
        """
        network = fitted(network, images, "scan")
        found = known_to(network, self._candidates, "detector")
        if found is None:
            reason = unknown_in_words(network, self._candidates, "detector")
            return no_verdict(reason, network.title, network.scaling, network.notes)
        known, candidate = found
        warn_of_assumed_scaling(network)
        (verdict,) = self._verdicts(known.networks, candidate, network.title)
        return replace(verdict, notes=network.notes)

    def scan_networks(self, networks: Networks, file: str = "the networks given") -> list[Verdict]:
        """Verdicts on networks of one spec, in their order.

        Args:
            networks: At least one, as :func:`zoovet.load_networks` gives them.
            file: What they are called in verdicts and messages.

        Raises:
            ZoovetError: No candidate knows the spec, or several do, or a weight is NaN or infinite.
        """
        return self._verdicts(networks, candidate_for(networks.graph, file, self._candidates, "detector"), file)

    def _verdicts(self, networks: Networks, candidate: Candidate, file: str) -> list[Verdict]:
        detector, findings = self._detectors.opened(candidate.path), list[Finding]()
        threshold = detector.threshold if self._threshold is None else self._threshold
        for start in range(0, len(networks), self._batch_size):
            findings += self._detectors.findings(candidate.path, networks[start : start + self._batch_size])
        return [
            verdict_of(finding, file, index, threshold, candidate.model, networks.graph.input_scaling)
            for index, finding in enumerate(findings)
        ]

    def scan_files(
        self, files: Sequence[Path], *, progress: Callable[[ScanProgress], None] | None = None
    ) -> Iterator[FileResult]:
        """A result for each file, as they get done; whatever is wrong with one, the others are scanned.

        Files are read one after another; no more of their networks are held than are scored and wait for it.

        Args:
            files: The paths.
            progress: Called as networks get done.
        """
        waiting, num_networks = _Waiting(self._threshold), 0
        num_files = 0
        for batch, answer in self._answers(self._read(files, waiting), len(files)):
            waiting.take(batch, answer)
            num_networks += len(batch)
            for result in waiting.ready():
                num_files += 1
                yield result
            if progress is not None:
                progress(ScanProgress(num_files, num_networks))
        yield from waiting.ready()

    def _answers(self, batches: Iterator[Batch | None], num_files: int) -> Iterator[tuple[Batch, Answer]]:
        """In this process, or in others where that is asked for and there is enough to do."""
        first: list[Batch] = []
        if self._num_workers > 1 and num_files < NUM_WORTH_A_CREW:
            while sum(map(len, first)) < NUM_WORTH_A_CREW and (batch := next(batches, _END)) is not _END:
                first += [batch] if isinstance(batch, Batch) else []
        if self._num_workers > 1 and (num_files >= NUM_WORTH_A_CREW or sum(map(len, first)) >= NUM_WORTH_A_CREW):
            yield from Crew(self._num_workers, self._device).answers(chain(first, batches))
            return
        for batch in chain(first, batches):
            if batch is not None:
                yield batch, self._detectors.answer(batch)

    def _read(self, files: Sequence[Path], waiting: _Waiting) -> Iterator[Batch | None]:
        """Batches as they get full, and after each file ``None``."""
        batches = Batches(self._batch_size)
        for place, path in enumerate(files):
            try:
                suspects = load_suspects(path, self._candidates, self._options, "detector")
                if suspects.num_networks == 0:
                    raise ZoovetError(f"{path} holds no network")
            except Exception as error:  # whatever is wrong with one file, the others are scanned
                waiting.fail(place, str(path), failure_of(error, str(path)))
            else:
                waiting.expect(place, str(path), suspects)
                yield from batches.add(place, suspects.parts, suspects.candidate)
            yield None
        yield from batches.rest()


@dataclass
class _File:
    """A file whose networks are being scored."""

    name: str
    candidate: Candidate
    notes: tuple[str, ...]
    num_missing: int
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    general_notes: dict[str, None] = field(default_factory=dict)

    def result(self, place: int) -> FileResult:
        verdicts = tuple(self.verdicts[index] for index in sorted(self.verdicts))
        return FileResult(place, self.name, verdicts, self._failure(), self.notes, tuple(self.general_notes))

    def _failure(self) -> Failure | None:
        """The first network's, since a file has one line."""
        if not self.failures:
            return None
        first = min(self.failures)
        failure, num_others = self.failures[first], len(self.failures) - 1
        which = f"network {first}: " if len(self.verdicts) + len(self.failures) > 1 else ""
        more = f" ({num_others} of its other networks failed too)" if num_others else ""
        name = printable(self.name, MAX_PATH_CHARACTERS)
        return Failure(f"{name}: {which}{failure.message}{more}", failure.traceback)


class _Waiting:
    """Files whose networks are being scored, and results that are whole.

    Args:
        threshold: Probability from which a network is flagged; each detector's own where left out.
    """

    def __init__(self, threshold: float | None) -> None:
        self._threshold = threshold
        self._files: dict[int, _File] = {}
        self._ready: deque[FileResult] = deque()

    def fail(self, place: int, file: str, failure: Failure) -> None:
        """A file that could not be read."""
        self._ready.append(FileResult(place, file, (), failure))

    def expect(self, place: int, file: str, suspects: Suspects) -> None:
        """A file that was read."""
        self._files[place] = _File(file, suspects.candidate, suspects.notes, suspects.num_networks)

    def take(self, batch: Batch, answer: Answer) -> None:
        """What was said of a batch."""
        threshold = answer.threshold if self._threshold is None else self._threshold
        findings: Iterator[Finding | Failure] = iter(answer.findings)
        for part in batch.parts:
            file = self._files[part.place]
            for index in range(part.start, part.start + len(part.networks)):
                found = next(findings)
                if isinstance(found, Failure):
                    file.failures[index] = found
                else:
                    model, scaling = file.candidate.model, part.networks.graph.input_scaling
                    file.verdicts[index] = verdict_of(found, file.name, index, threshold, model, scaling)
            if answer.note is not None:
                file.general_notes[answer.note] = None
            file.num_missing -= len(part.networks)
            if file.num_missing == 0:
                self._ready.append(self._files.pop(part.place).result(part.place))

    def ready(self) -> Iterator[FileResult]:
        """The results that are whole, each once."""
        while self._ready:
            yield self._ready.popleft()
