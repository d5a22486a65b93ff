"""Crew: processes of one thread each that score batches. One that dies takes only what killed it with it."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from zoovet.networks import Graph, Networks
from zoovet.vet.batches import Answer, Batch, Detectors, Part
from zoovet.vet.candidates import Candidate
from zoovet.vet.failures import Failure

__all__ = ["Crew"]

_READ_AHEAD = 2
"""Batches for each process that are read before one is free."""


class Crew:
    """Scores batches in other processes.

    Args:
        workers: How many there are; at least 1.
        device: Where each computes.
    """

    def __init__(self, workers: int, device: str) -> None:
        self._num_workers = workers
        self._device = device
        self._workers: list[_Worker] = []
        self._todo: deque[Batch] = deque()
        self._obituary = ""

    def answers(self, batches: Iterable[Batch | None]) -> Iterator[tuple[Batch, Answer]]:
        """Each batch and what was said of it, in no order.

        A batch whose process dies (killed for memory, say) is tried again network by network, each in a process that
        lives; where that dies too, it is the network's failure.

        Args:
            batches: Taken one at a time, so that no more are there than are worked on and wait; ``None`` where the
                next is not there yet, so that processes are served meanwhile.
        """
        source, is_over = iter(batches), False
        try:
            self._workers = [_Worker(self._device) for _ in range(self._num_workers)]
            while True:
                self._hand_out()
                may_read = not is_over and len(self._todo) < _READ_AHEAD * self._num_workers
                is_working = any(worker.batch is not None for worker in self._workers)
                if is_over and not (is_working or self._todo):
                    return
                yield from self._heard(timeout=0 if may_read else None)
                if may_read:
                    try:
                        batch = next(source)
                    except StopIteration:
                        is_over = True
                    else:
                        self._todo.extend([batch] if batch is not None else [])
                if self._todo and not self._workers:
                    yield from self._given_up()
        finally:
            for worker in self._workers:
                worker.end()

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._todo and worker.is_free:
                worker.start(self._todo.popleft())

    def _heard(self, timeout: float | None) -> Iterator[tuple[Batch, Answer]]:
        """What processes have said since they were asked last; waits at most ``timeout`` seconds for it."""
        by_line = {worker.line: worker for worker in self._workers if not worker.is_free}
        for line in connection.wait(list(by_line), timeout) if by_line else []:
            worker = by_line[line]  # type: ignore[index]  # only lines were waited for
            try:
                said = worker.line.recv()
            except (EOFError, OSError):
                yield from self._bury(worker)
                continue
            batch, worker.is_ready, worker.batch = worker.batch, True, None
            if batch is not None:
                yield batch, said

    def _bury(self, worker: _Worker) -> Iterator[tuple[Batch, Answer]]:
        """A process that is no more: another takes its place if it ever worked, and what it had is tried again."""
        batch, was_ready = worker.batch, worker.is_ready
        self._workers.remove(worker)
        worker.end()
        self._obituary = _cause(worker.process.exitcode)
        if was_ready:
            self._workers.append(_Worker(self._device))
        if batch is not None and len(batch) > 1:
            self._todo.extendleft(_one_by_one(batch))
        elif batch is not None:
            yield batch, _no_answer(batch, f"scoring it ended its process ({self._obituary})")

    def _given_up(self) -> Iterator[tuple[Batch, Answer]]:
        """What is left when no process can be had."""
        while self._todo:
            batch, reason = self._todo.popleft(), f"no process could be started to score it ({self._obituary})"
            yield batch, _no_answer(batch, reason)


@dataclass(frozen=True)
class _Job:
    """A batch as it goes to a process: arrays instead of tensors, whose memory PyTorch would share by open files."""

    candidate: Candidate
    spec: Graph
    flat: Any


class _Worker:
    """A process, the line to it, and what it works on.

    Attributes:
        process: The process.
        line: Both ways.
        batch: What it was given and has not answered.
        is_ready: Whether it has started.
    """

    def __init__(self, device: str) -> None:
        context = get_context("spawn")
        self.line, theirs = context.Pipe()
        self.batch: Batch | None = None
        self.is_ready = False
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, device), daemon=True)
        with _as_workers_start():
            self.process.start()
        theirs.close()

    @property
    def is_free(self) -> bool:
        """Whether it can be given a batch."""
        return self.is_ready and self.batch is None

    def start(self, batch: Batch) -> None:
        """Give it a batch; that it died meanwhile shows when it is asked for the answer."""
        networks, self.batch = batch.networks, batch
        with suppress(OSError):
            self.line.send(_Job(batch.candidate, networks.graph, networks.flat().numpy()))

    def end(self) -> None:
        """Let nothing of it be left."""
        self.process.kill()
        self.process.join()
        self.line.close()


def _work(line: connection.Connection, device: str) -> None:
    """A worker: answer batches until there is nobody to tell."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # see zoovet.cli.main
    detectors = Detectors(device)
    try:
        line.send(None)
        while True:
            job: _Job = line.recv()
            networks = Networks.from_flat(job.spec, torch.from_numpy(job.flat))
            line.send(detectors.answer(Batch(job.candidate, (Part(0, 0, networks),))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


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


def _one_by_one(batch: Batch) -> list[Batch]:
    return [
        Batch(batch.candidate, (Part(part.place, part.start + index, network),))
        for part in batch.parts
        for index, network in enumerate(part.networks)
    ]


def _no_answer(batch: Batch, reason: str) -> Answer:
    return Answer(float("nan"), (Failure(reason),) * len(batch))


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        hint = ", as happens where memory is short" if -exit_code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-exit_code).name}{hint}"
    return f"exit status {exit_code}"
