"""Scanner: verdicts on a network, or on those of many files. One file's failure, of whatever kind, is its alone."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.jobs import Inline, Processes, Runner
from zoovet.networks import Networks
from zoovet.printable import MAX_PATH_CHARACTERS, printable
from zoovet.vet.batches import Answer, Batch, Batches, Detectors
from zoovet.vet.candidates import Candidate, chosen_candidates
from zoovet.vet.crew import answers_of
from zoovet.vet.failures import Failure, failure_of
from zoovet.vet.file_result import FileResult
from zoovet.vet.network import Network
from zoovet.vet.recognition import fitted, known_to, unknown_in_words, warn_of_assumed_scaling
from zoovet.vet.stranger_jobs import ExaminedFile, StrangerJob, may_travel, stranger_verdicts
from zoovet.vet.stranger_reader import StrangerReader, shipped_stranger_reader
from zoovet.vet.strangers import Strangers, require_effort
from zoovet.vet.suspects import NobodyKnows, ReadOptions, Suspects, candidate_for, load_suspects, networks_in
from zoovet.vet.verdicts import Finding, Verdict, is_unlike, no_verdict, verdict_of
from zoovet.vet.weights_digest import digest_of

__all__ = ["ScanProgress", "Scanner"]

BATCH_SIZE = 16
NUM_WORTH_A_CREW = 32
"""Networks from which on it is quicker to start processes."""
_END = object()


def _tell_nobody(_: object) -> None:
    """Where nobody asked for progress."""


def _tell(progress: Callable[[ScanProgress], None], num_files: int, num_networks: int, where: str, sought: str) -> None:
    """What is being sought in one network."""
    shown = f"{printable(where, MAX_PATH_CHARACTERS)}: {sought}"
    progress(ScanProgress(num_files, num_networks, shown))


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan is.

    Attributes:
        num_files: Files that are done.
        num_networks: Networks that were scored.
        sought: What is being sought in a network that no detector was trained on; empty where none is looked at.
    """

    num_files: int
    num_networks: int
    sought: str = ""


class Scanner:
    """Gives verdicts, each by the detector that knows the network's graph; of others by the detector for strangers.

    Args:
        detector: A run's folder or its checkpoint file, or candidates to choose from; the shipped models' where left
            out.
        model: The only shipped model to look at, by its name.
        threshold: Probability from which a network is flagged; each detector's own where left out.
        options: What is known of files besides; :meth:`scan` needs none.
        device: Where to compute.
        workers: Processes that score many files' networks, of one thread each; 1 scores in this process.
        runner: Where networks are scored and looked at instead: a cluster.
        batch_size: Networks that are scored at a time.
        strangers: The detector for networks that no other knows, or that one finds unlike all that it knows. Where left
            out, the one that comes with the package, unless a detector or a model is given: these are unknown then.
        effort: How much is sought in these: ``quick``, ``normal`` or ``thorough``.
        false_alarms: Share of healthy ones among these that may be called trojaned; ``threshold`` goes before it.

    Raises:
        ZoovetError: There is no such run or model, no such effort, ``workers`` is below 1, several are to share a GPU,
            or a number is out of its range.
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
        runner: Runner | None = None,
        batch_size: int = BATCH_SIZE,
        strangers: StrangerReader | None = None,
        effort: str = "normal",
        false_alarms: float = 0.01,
    ) -> None:
        if workers < 1:
            raise ZoovetError(f"workers must be at least 1, got {workers}")
        if workers > 1 and device != "cpu":
            raise ZoovetError(f"several processes would share {device!r}: give workers 1, got {workers}")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ZoovetError(f"threshold must be from 0 to 1, got {threshold}")
        require_effort(effort, false_alarms)
        self._strangers = None
        if strangers is None and detector is None and model is None:
            strangers = shipped_stranger_reader()
        if strangers is not None:
            self._strangers = Strangers(reader=strangers, effort=effort, false_alarms=false_alarms, threshold=threshold)
        self._candidates = chosen_candidates("detector", detector, model)
        self._threshold = threshold
        self._options = options or ReadOptions()
        self._device, self._is_given = device, runner is not None
        self._is_elsewhere = runner is not None or workers > 1
        self._runner = runner or (Processes(workers) if workers > 1 else Inline(num_threads=None))
        self._detectors = Detectors(device)
        self._batch_size = batch_size

    def scan(
        self, network: Network, images: Images | None = None, *, progress: Callable[[str], None] | None = None
    ) -> Verdict:
        """The verdict on one network, whatever file or module it came from.

        Args:
            network: From :func:`zoovet.read` or :func:`zoovet.from_module`.
            images: Reference images: a few of each class, of the kind that the network reads. What no detector was
                trained on is vetted on them, on ones that it makes itself where there are none. Where nobody knows the
                input scaling and they have labels, it is found on them. A detector that knows the network takes [-1, 1]
                where it stays unknown, with a ``UserWarning``; without one the network is unknown.
            progress: Told what is sought next in a network that no detector was trained on.

        Returns:
            ``unknown``, with the reason, where no detector knows the network's graph, or it is unlike the networks that
            the detector was trained on. Where the images are not of its kind, there is a ``UserWarning`` besides.

        Raises:
            ZoovetError: A number of the network is NaN or infinite, or the images do not fit it.
        """
        network = fitted(network, images, "scan")
        found = known_to(network, self._candidates, "detector")
        if found is not None:
            known, candidate = found
            warn_of_assumed_scaling(network)
            (verdict,) = self._verdicts(known.networks, candidate, network.title)
            verdict = replace(verdict, notes=network.notes, digest=network.digest)
            if self._strangers is None or not is_unlike(verdict):
                return verdict
        elif self._strangers is None:
            reason = unknown_in_words(network, self._candidates, "detector")
            return replace(no_verdict(reason, network.title, network.scaling, network.notes), digest=network.digest)
        verdict = self._strangers.verdict(network, images, network.title, progress=progress or _tell_nobody)
        for caution in verdict.cautions:
            warnings.warn(f"{printable(network.title)}: {caution}", stacklevel=2)
        return verdict

    def scan_networks(self, networks: Networks, file: str = "the networks given") -> list[Verdict]:
        """Verdicts on networks of one graph, in their order.

        Args:
            networks: At least one, as :func:`zoovet.load_networks` gives them.
            file: What they are called in verdicts and messages.

        Raises:
            ZoovetError: No candidate knows the graph, or several do, or a weight is NaN or infinite.
        """
        return self._verdicts(networks, candidate_for(networks.graph, file, self._candidates, "detector"), file)

    def _verdicts(self, networks: Networks, candidate: Candidate, file: str) -> list[Verdict]:
        detector, findings = self._detectors.opened(candidate.path), list[Finding]()
        threshold = detector.threshold if self._threshold is None else self._threshold
        for start in range(0, len(networks), self._batch_size):
            findings += self._detectors.findings(candidate.path, networks[start : start + self._batch_size])
        return [
            replace(
                verdict_of(finding, file, index, threshold, candidate.model, networks.graph.input_scaling),
                digest=digest_of(networks[index]),
                detector=self._detectors.version(candidate),
            )
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
        told = progress or _tell_nobody
        waiting, num_networks, num_files = _Waiting(self._threshold), 0, 0
        later: list[FileResult] = []
        for batch, answer in self._answers(self._read(files, waiting), len(files)):
            waiting.take(batch, answer)
            num_networks += len(batch)
            for result in self._done(waiting, later):
                num_files += 1
                yield result
            told(ScanProgress(num_files, num_networks))
        for result in self._done(waiting, later):
            num_files += 1
            yield result
        for again in self._strangers_of(later, partial(_tell, told, num_files, num_networks)):
            num_files, num_networks = num_files + 1, num_networks + len(again.verdicts)
            yield again
            told(ScanProgress(num_files, num_networks))

    def _done(self, waiting: _Waiting, later: list[FileResult]) -> Iterator[FileResult]:
        """The results that are whole; those that the detector for strangers is to look at are put off."""
        for result in waiting.ready():
            if self._has_strangers(result):
                later.append(result)
            else:
                yield result

    def _has_strangers(self, result: FileResult) -> bool:
        """Whether the detector for strangers is to look at networks of a file."""
        return self._strangers is not None and (result.is_of_strangers or any(map(is_unlike, result.verdicts)))

    def _strangers_of(self, later: Sequence[FileResult], progress: Callable[[str, str], None]) -> Iterator[FileResult]:
        """The files read once more, and the detector for strangers asked about the networks that no other knows."""
        if self._strangers is None or not later:
            return
        whole, begun, here = deque[FileResult](), dict[int, ExaminedFile](), list[StrangerJob]()
        runner = self._runner if len(later) > 1 and may_travel(self._strangers) else Inline(num_threads=None)

        def jobs() -> Iterator[StrangerJob | None]:
            for result in later:
                try:
                    networks, notes = networks_in(Path(result.file), self._candidates, self._options, "detector")
                except Exception as error:  # whatever is wrong with one file, the others are scanned
                    whole.append(replace(result, failure=failure_of(error, result.file)))
                    yield None
                    continue
                file = begun[result.place] = ExaminedFile(result, networks, notes)
                here.extend(job for job in file.jobs if job.network.graph is None)  # its code may be the user's
                yield from (job for job in file.jobs if job.network.graph is not None)
                whole.extend([] if file.jobs else [file.result()])

        for batch, where in ((jobs(), runner), (here, Inline(num_threads=None))):
            for job, verdict in stranger_verdicts(batch, self._strangers, self._options.images, where, progress):
                if begun[job.place].take(job, verdict):
                    whole.append(begun.pop(job.place).result())
                yield from whole
                whole.clear()
        yield from whole

    def _answers(self, batches: Iterator[Batch | None], num_files: int) -> Iterator[tuple[Batch, Answer]]:
        """In this process, or in others where that is asked for and there is enough to do."""
        first: list[Batch] = []
        is_worth_it = self._is_elsewhere and (self._is_given or num_files >= NUM_WORTH_A_CREW)
        if self._is_elsewhere and not is_worth_it:
            while sum(map(len, first)) < NUM_WORTH_A_CREW and (batch := next(batches, _END)) is not _END:
                first += [batch] if isinstance(batch, Batch) else []
            is_worth_it = sum(map(len, first)) >= NUM_WORTH_A_CREW
        if is_worth_it:
            yield from answers_of(chain(first, batches), self._runner, self._device)
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
                is_read = isinstance(error, NobodyKnows)
                waiting.fail(place, str(path), failure_of(error, str(path)), is_of_strangers=is_read)
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
    digest: str | None
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

    def fail(self, place: int, file: str, failure: Failure, *, is_of_strangers: bool = False) -> None:
        """A file that could not be read, or whose networks nobody knows."""
        self._ready.append(FileResult(place, file, (), failure, is_of_strangers=is_of_strangers))

    def expect(self, place: int, file: str, suspects: Suspects) -> None:
        """A file that was read."""
        self._files[place] = _File(file, suspects.candidate, suspects.notes, suspects.num_networks, suspects.digest)

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
                    verdict = verdict_of(found, file.name, index, threshold, model, scaling)
                    digest = file.digest or digest_of(part.networks[index - part.start])
                    file.verdicts[index] = replace(verdict, digest=digest, detector=answer.version)
            if answer.note is not None:
                file.general_notes[answer.note] = None
            file.num_missing -= len(part.networks)
            if file.num_missing == 0:
                self._ready.append(self._files.pop(part.place).result(part.place))

    def ready(self) -> Iterator[FileResult]:
        """The results that are whole, each once."""
        while self._ready:
            yield self._ready.popleft()
