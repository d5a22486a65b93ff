"""The networks of many files that no detector for one graph knows: each looked at by itself, in whatever process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.jobs import Done, Inline, Runner, Tell
from zoovet.vet.failures import Failure, failure_of
from zoovet.vet.file_result import FileResult
from zoovet.vet.network import Network
from zoovet.vet.strangers import Strangers
from zoovet.vet.verdicts import Verdict, is_unlike

__all__ = ["ExaminedFile", "StrangerJob", "may_travel", "stranger_verdicts"]


@dataclass(frozen=True, eq=False)
class StrangerJob:
    """One network that is to be looked at.

    Attributes:
        network: It.
        place: Its file's number among those that are scanned.
        file: Its file.
        index: Its number there.
        title: What it is called in what is told.
    """

    network: Network
    place: int
    file: str
    index: int
    title: str


class ExaminedFile:
    """A file while its networks are looked at.

    Args:
        result: What was said of it before.
        networks: What it holds.
        notes: What is to be said of them beside their own notes.

    Attributes:
        jobs: The networks to look at: all of a file that no detector knows, else those that theirs finds unlike all
            that it knows.
    """

    def __init__(self, result: FileResult, networks: Sequence[Network], notes: Sequence[str]) -> None:
        self._before, self._notes = result, notes
        self._verdicts = {verdict.network: verdict for verdict in result.verdicts}
        self._failures = dict[int, Failure]()
        self.jobs = [
            StrangerJob(
                network,
                result.place,
                result.file,
                index,
                f"{result.file}[{index}]" if len(networks) > 1 else result.file,
            )
            for index, network in enumerate(networks)
            if result.is_of_strangers or (index in self._verdicts and is_unlike(self._verdicts[index]))
        ]
        self._num_missing = len(self.jobs)

    def take(self, job: StrangerJob, found: Verdict | Failure) -> bool:
        """What was said of one of the networks; whether it was the last."""
        if isinstance(found, Failure):
            self._verdicts.pop(job.index, None)
            self._failures[job.index] = found
        else:
            self._verdicts[job.index] = found
        self._num_missing -= 1
        return self._num_missing == 0

    def result(self) -> FileResult:
        """What is said of it now."""
        failure = None if self._before.is_of_strangers else self._before.failure
        if failure is None and self._failures:
            failure = self._failures[min(self._failures)]
        verdicts = tuple(self._verdicts[index] for index in sorted(self._verdicts))
        notes = dict.fromkeys((*self._notes, *(line for one in verdicts for line in (*one.cautions, *one.notes))))
        return replace(self._before, verdicts=verdicts, failure=failure, notes=tuple(notes), is_of_strangers=False)


def may_travel(strangers: Strangers) -> bool:
    """Whether other processes can be given the detector: a class of the user's own may be known to this one only."""
    return type(strangers.reader).__module__.partition(".")[0] == __name__.partition(".")[0]


@dataclass(frozen=True)
class _Examiners:
    """What workers have: the detector and the reference images."""

    strangers: Strangers
    images: Images | None
    are_elsewhere: bool

    def start(self) -> Callable[[StrangerJob, Tell], Verdict | Failure]:
        if self.are_elsewhere:
            torch.set_flush_denormal(True)  # see zoovet.cli.main
        return self._examine

    def _examine(self, job: StrangerJob, tell: Tell) -> Verdict | Failure:
        try:
            progress = partial(_tell, tell, job.title)
            return self.strangers.verdict(job.network, self.images, job.file, job.index, progress)
        except Exception as error:  # one network's failure is its own
            return failure_of(error, job.title)


def _tell(tell: Tell, title: str, sought: str) -> None:
    tell((title, sought))


def stranger_verdicts(
    jobs: Iterable[StrangerJob | None],
    strangers: Strangers,
    images: Images | None,
    runner: Runner,
    progress: Callable[[str, str], None],
) -> Iterator[tuple[StrangerJob, Verdict | Failure]]:
    """Each network and its verdict, or why there is none, in no order.

    Args:
        jobs: The networks; taken one at a time; ``None`` where the next is not there yet.
        strangers: The detector.
        images: Reference images.
        runner: Where they are looked at.
        progress: Told a network's title and what is sought in it.
    """

    def hear(said: Any) -> None:
        progress(*said)

    with runner.crew(_Examiners(strangers, images, not isinstance(runner, Inline))) as crew:
        for outcome in crew.outcomes(jobs, tell=hear):
            if isinstance(outcome, Done):
                yield outcome.job, outcome.result
            else:
                lost = ZoovetError(f"it could not be looked at: {outcome.cause}")
                yield outcome.job, failure_of(lost, outcome.job.title)
