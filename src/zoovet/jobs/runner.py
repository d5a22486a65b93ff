"""What runs jobs, and what comes of them: the same protocol in this process, in others, on a cluster.

A job is pure: what it gives follows from it and from the work that it is part of, not from where or when it is done. So
one whose process died is done again elsewhere, and what it gives is the same. Who hands out jobs also writes what they
give, unless that is large: then a job writes a file, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from zoovet.errors import ZoovetError

__all__ = ["MAX_DEATHS", "Crew", "Do", "Done", "Lost", "Runner", "Tell", "Work", "no_others", "results", "tell_nobody"]

Job = TypeVar("Job")
Result = TypeVar("Result")
Job_contra = TypeVar("Job_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

MAX_DEATHS = 3
"""Processes that a job may end before nobody tries it again."""

Tell = Callable[[Any], None]
"""Told how far a job is, in the process that hands out jobs; whatever can be pickled."""

Do = Callable[[Any, Tell], Any]
"""Does one job: ``result = do(job, tell)``."""


class Work(Protocol[Job_contra, Result_co]):
    """What jobs have in common. It is sent to each worker once, so it can be pickled and is small."""

    def start(self) -> Callable[[Job_contra, Tell], Result_co]:
        """Called once in each worker: loads what all jobs need, and returns what does one."""
        ...


@dataclass(frozen=True)
class Done(Generic[Job, Result]):
    """A job and what it gave."""

    job: Job
    result: Result


@dataclass(frozen=True)
class Lost(Generic[Job]):
    """A job that ended its process too often, or for which there was no process, and why, in words."""

    job: Job
    cause: str


def tell_nobody(said: object) -> None:
    """Where nobody asked how far jobs are."""


def no_others(job: Any, num_deaths: int) -> Sequence[Any]:
    """A job that ended its process is done once more, at most :data:`MAX_DEATHS` times."""
    return [job] if num_deaths < MAX_DEATHS else []


class Crew(Protocol[Job, Result]):
    """Does the jobs of one work, for as long as it is held."""

    def outcomes(
        self,
        jobs: Iterable[Job | None],
        *,
        tell: Tell = tell_nobody,
        instead: Callable[[Job, int], Sequence[Job]] = no_others,
    ) -> Iterator[Done[Job, Result] | Lost[Job]]:
        """Do jobs: each with what came of it, as they get done.

        Args:
            jobs: Taken one at a time, as there is somebody to do them; ``None`` where the next is not there yet.
            tell: Told what jobs tell.
            instead: Of a job that ended its process, and how many it has ended: the jobs to do in its place, such as
                itself, or its parts. Where there are none it is lost.

        Raises:
            Exception: What a job raised; the others are left.
        """
        ...


class Runner(Protocol):
    """Where jobs are done.

    Attributes:
        num_workers: How many are done at a time.
    """

    @property
    def num_workers(self) -> int:
        """How many jobs are done at a time."""
        ...

    def crew(self, work: Work[Job, Result]) -> AbstractContextManager[Crew[Job, Result]]:
        """Hold workers for jobs of one work; when the block is left, by whatever way, none of them goes on."""
        ...


def results(outcomes: Iterable[Done[Job, Result] | Lost[Job]], remedy: str) -> Iterator[tuple[Job, Result]]:
    """Jobs and what they gave, where none may be lost.

    Args:
        outcomes: From :meth:`Crew.outcomes`.
        remedy: What is kept, and what to do, where one was lost.

    Raises:
        ZoovetError: One was lost.
    """
    for outcome in outcomes:
        if isinstance(outcome, Lost):
            raise ZoovetError(f"a job was lost ({outcome.cause}); {remedy}")
        yield outcome.job, outcome.result
