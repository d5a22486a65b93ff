"""Processes: jobs are done on this machine, by processes of one thread each."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from zoovet.errors import ZoovetError
from zoovet.jobs.hiring import Answered, Event, Gone, HiredCrew, Raised, Ready, Told, hired_crew
from zoovet.jobs.runner import Do, Work
from zoovet.processes import end_with_parent

__all__ = ["ProcessWorker", "Processes", "answer_of", "do_next", "pickled", "started"]

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Processes:
    """Does jobs in processes of this machine.

    Attributes:
        num_workers: How many there are; at least 1.
    """

    num_workers: int

    def __post_init__(self) -> None:
        """Raise a :class:`ZoovetError` where there would be none."""
        if self.num_workers < 1:
            raise ZoovetError(f"workers must be at least 1, got {self.num_workers}")

    def crew(self, work: Work[Job, Result]) -> AbstractContextManager[HiredCrew[Job, Result]]:
        """See :meth:`zoovet.jobs.Runner.crew`."""
        return hired_crew(_Hirer(pickle.dumps(work)), self.num_workers)


class _Hirer:
    """Starts processes and listens to them; see :class:`zoovet.jobs.hiring.Hirer`."""

    def __init__(self, work: bytes) -> None:
        self._work = work

    def hire(self) -> ProcessWorker:
        return ProcessWorker(self._work)

    def heard(self, workers: Sequence[ProcessWorker], timeout: float | None) -> list[tuple[ProcessWorker, Event]]:
        speaking = connection.wait([worker.line for worker in workers], timeout)
        return [(worker, worker.said()) for worker in workers if worker.line in speaking]


class ProcessWorker:
    """A process, and the line to it.

    Args:
        work: The pickled work of its jobs.
    """

    def __init__(self, work: bytes) -> None:
        context = get_context("spawn")
        self.line, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_run, args=(theirs, work, os.getpid()), daemon=True)
        with _as_workers_start():
            self.process.start()
        theirs.close()

    def give(self, job: bytes) -> None:
        """Give it a job; that it died meanwhile shows when it is listened to."""
        with suppress(OSError):
            self.line.send_bytes(job)

    def said(self) -> Event:
        """The next thing that it said, which is waited for."""
        try:
            event: Event = pickle.loads(self.line.recv_bytes())
        except (EOFError, OSError):
            self.end()
            return Gone(_cause(self.process.exitcode))
        return event

    def end(self) -> None:
        """Let nothing of it be left."""
        self.process.kill()  # what it is at may take an hour; a gentler word would only be taken note of
        self.process.join()
        self.line.close()


def _run(line: connection.Connection, work: bytes, parent: int) -> None:
    """A worker: do jobs until there is nobody to tell; it does not outlive its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that leads ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # an ignored one is handed down
    end_with_parent(parent)
    warnings.simplefilter("ignore", UserWarning)  # what there is to say, the process that leads says once

    def send(event: Event) -> None:
        line.send_bytes(pickled(event))

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        do = answer_of(lambda: started(work))
        if isinstance(do, Raised):
            send(do)
            return
        send(Ready())
        while True:
            send(answer_of(partial(do_next, do.result, line.recv_bytes(), send)))


def do_next(do: Do, job: bytes, send: Callable[[Event], None]) -> Any:
    """Do a pickled job; what it tells is sent."""
    return do(pickle.loads(job), lambda said: send(Told(said)))


def started(work: bytes) -> Any:
    """What does jobs of a work, on one thread."""
    import torch

    torch.set_num_threads(1)
    return pickle.loads(work).start()


def answer_of(do: Callable[[], Any]) -> Answered | Raised:
    """What a call gives or raises, as what a worker says."""
    try:
        return Answered(do())
    except Exception as error:
        return Raised(error, traceback.format_exc())


def pickled(event: Event) -> bytes:
    """What a worker says, for the line; an error that cannot be pickled goes as its text."""
    try:
        data = pickle.dumps(event)
        pickle.loads(data)
    except Exception:
        if not isinstance(event, Raised):
            raise
        data = pickle.dumps(Raised(RuntimeError(repr(event.error)), event.traceback))
    return data


@contextmanager
def _as_workers_start() -> Iterator[None]:
    """Processes that start here run on one thread, and Ctrl-C is for the one that leads them."""
    threads = os.environ.get("OMP_NUM_THREADS")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the workers' libraries when they start
    try:
        yield
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        hint = ", as happens where memory is short" if -exit_code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-exit_code).name}{hint}"
    return f"exit status {exit_code}"
