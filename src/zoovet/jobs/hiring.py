"""A crew of workers, of whatever kind: who gets which job, and what is done when one of them is gone."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from zoovet.jobs.runner import MAX_DEATHS, Done, Lost, Tell, no_others, tell_nobody

__all__ = ["Answered", "Event", "Gone", "Hired", "HiredCrew", "Hirer", "Raised", "Ready", "Told", "hired_crew"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_READ_AHEAD = 2
"""Jobs for each worker that are taken before one is free."""


@dataclass(frozen=True)
class Ready:
    """A worker has started."""


@dataclass(frozen=True)
class Told:
    """A worker tells how far it is."""

    said: Any


@dataclass(frozen=True)
class Answered:
    """A worker has done its job."""

    result: Any


@dataclass(frozen=True)
class Raised:
    """A job, or a worker's start, raised an error.

    Attributes:
        error: It.
        traceback: Where, in the worker.
    """

    error: BaseException
    traceback: str


@dataclass(frozen=True)
class Gone:
    """A worker is no more, and why."""

    cause: str


Event = Ready | Told | Answered | Raised | Gone
"""What is heard of a worker."""


class Hired(Protocol):
    """A worker, wherever it is."""

    def give(self, job: bytes) -> None:
        """Give it a pickled job; that it died meanwhile shows when it is listened to."""
        ...

    def end(self) -> None:
        """Let nothing of it be left."""
        ...


Worker = TypeVar("Worker", bound=Hired)


class Hirer(Protocol[Worker]):
    """Starts workers of one kind, and listens to them."""

    def hire(self) -> Worker:
        """A new worker; that it has started is heard later."""
        ...

    def heard(self, workers: Sequence[Worker], timeout: float | None) -> Sequence[tuple[Worker, Event]]:
        """What workers have said since they were listened to last; waits at most ``timeout`` seconds for it."""
        ...


@dataclass(frozen=True)
class _Task(Generic[Job]):
    """A job, and how many workers it has ended."""

    job: Job
    num_deaths: int = 0


@dataclass
class _Place(Generic[Job]):
    """What a worker is at."""

    is_ready: bool = False
    task: _Task[Job] | None = None


class HiredCrew(Generic[Job, Result]):
    """Hands out jobs to workers: see :class:`zoovet.jobs.Crew`.

    Args:
        hirer: Starts workers.
        num_workers: How many there are at a time; as many are started as there are jobs.
    """

    def __init__(self, hirer: Hirer[Any], num_workers: int) -> None:
        self._hirer, self._most = hirer, num_workers
        self._places: dict[Any, _Place[Job]] = {}
        self._num_failed_starts, self._obituary = 0, ""

    def outcomes(
        self,
        jobs: Iterable[Job | None],
        *,
        tell: Tell = tell_nobody,
        instead: Callable[[Job, int], Sequence[Job]] = no_others,
    ) -> Iterator[Done[Job, Result] | Lost[Job]]:
        """See :meth:`zoovet.jobs.Crew.outcomes`."""
        source, is_over = iter(jobs), False
        todo = deque[_Task[Job]]()
        while True:
            self._hand_out(todo)
            if is_over and not todo and all(place.task is None for place in self._places.values()):
                return
            may_read = not is_over and len(todo) < _READ_AHEAD * self._most
            for worker, event in self._heard(timeout=0 if may_read else None):
                if isinstance(event, Told):
                    tell(event.said)
                elif isinstance(event, Raised):
                    raise event.error from RuntimeError(f"a worker failed:\n{event.traceback}")
                elif isinstance(event, Gone):
                    yield from self._bury(worker, event.cause, todo, instead)
                else:
                    self._num_failed_starts = 0
                    task, self._places[worker] = self._places[worker].task, _Place(is_ready=True)
                    if isinstance(event, Answered) and task is not None:
                        yield Done(task.job, event.result)
            if may_read:
                try:
                    job = next(source)
                except StopIteration:
                    is_over = True
                else:
                    todo.extend([_Task(job)] if job is not None else [])
            while todo and not (self._places or self._may_hire):
                yield Lost(todo.popleft().job, f"no process could be started: {self._obituary}")

    def end(self) -> None:
        """Let no worker be left."""
        for worker in self._places:
            worker.end()
        self._places.clear()

    def _hand_out(self, todo: deque[_Task[Job]]) -> None:
        idle = [worker for worker, place in self._places.items() if place.task is None]
        for worker in idle:
            if todo and self._places[worker].is_ready:
                task = todo.popleft()
                self._places[worker].task = task
                worker.give(pickle.dumps(task.job))
        if not self._may_hire:
            return
        num_starting = sum(not self._places[worker].is_ready for worker in idle)
        for _ in range(min(self._most - len(self._places), len(todo) - num_starting)):
            self._places[self._hirer.hire()] = _Place()

    @property
    def _may_hire(self) -> bool:
        return self._num_failed_starts < MAX_DEATHS

    def _heard(self, timeout: float | None) -> Sequence[tuple[Any, Event]]:
        listened = [worker for worker, place in self._places.items() if place.task is not None or not place.is_ready]
        return self._hirer.heard(listened, timeout) if listened else ()

    def _bury(
        self, worker: Any, cause: str, todo: deque[_Task[Job]], instead: Callable[[Job, int], Sequence[Job]]
    ) -> Iterator[Lost[Job]]:
        """A worker that is no more: another may take its place, and its job is done anew, or lost."""
        place = self._places.pop(worker)
        worker.end()
        if not place.is_ready:
            self._num_failed_starts, self._obituary = self._num_failed_starts + 1, cause
        if place.task is not None:
            others = _others(place.task, instead)
            todo.extendleft(reversed(others))
            if not others:
                yield Lost(place.task.job, f"its process ended: {cause}")


@contextmanager
def hired_crew(hirer: Hirer[Any], num_workers: int) -> Iterator[HiredCrew[Any, Any]]:
    """A crew, none of whose workers is left when the block is."""
    crew = HiredCrew[Any, Any](hirer, num_workers)
    try:
        yield crew
    finally:
        crew.end()


def _others(task: _Task[Job], instead: Callable[[Job, int], Sequence[Job]]) -> list[_Task[Job]]:
    """What is to be done in place of a job that ended its worker; itself has ended one more."""
    num_deaths = task.num_deaths + 1
    return [_Task(other, num_deaths if other is task.job else 0) for other in instead(task.job, num_deaths)]
