"""Work on one network that is done by several threads at once, each with one thread of PyTorch's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from zoovet.evidence.runnable import Runnable

__all__ = ["Interrupted", "Pace", "StoppableNetwork", "done_at_once", "operations_on_one_thread"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Pace:
    """How fast a network is examined, at the price of memory.

    Attributes:
        num_threads: Searches that go on at once, each on one thread, where the network may be run by several; with 1
            they follow each other, on PyTorch's threads.
        max_images: That are run at once by each search.
    """

    num_threads: int = 1
    max_images: int = 512


class Interrupted(Exception):
    """Another thread failed, or was interrupted, so that nobody waits for this one."""


class StoppableNetwork:
    """A network that refuses to answer once it is told to stop, so that threads that run it end.

    Args:
        network: Any.
        stop: Set, where it should.
    """

    def __init__(self, network: Runnable, stop: threading.Event) -> None:
        self._network, self._stop = network, stop
        self.input_shape, self.num_classes = network.input_shape, network.num_classes
        self.dtype, self.device = network.dtype, network.device

    def __len__(self) -> int:
        return len(self._network)

    def __getitem__(self, index: slice) -> StoppableNetwork:
        return StoppableNetwork(self._network[index], self._stop)

    def logits(self, images: Tensor) -> Tensor:
        """The network's own.

        Raises:
            Interrupted: It was told to stop.
        """
        if self._stop.is_set():
            raise Interrupted
        return self._network.logits(images)


def done_at_once(tasks: Sequence[Callable[[], Result]], num_threads: int, stop: threading.Event) -> list[Result]:
    """What tasks give, in their order, without gradients unless they ask for them.

    Two threads that share each of many small operations wait for each other longer than they work, many times longer
    where other processes want the processor too; two that do a task each do not.

    Args:
        tasks: Independent of each other; the longest first is fastest.
        num_threads: At once; with 1 they are done in this thread, which uses as many of PyTorch's as it did.
        stop: Set as soon as one fails or this thread is interrupted.
    """
    if num_threads == 1:
        return [task() for task in tasks]
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        futures = [pool.submit(_without_gradients, task) for task in tasks]
        for future in futures:
            future.add_done_callback(lambda done: stop.set() if not done.cancelled() and done.exception() else None)
        failures = [error for future in futures if (error := future.exception()) is not None]
        for error in failures:
            if not isinstance(error, Interrupted):
                raise error
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


@contextmanager
def operations_on_one_thread() -> Iterator[None]:
    """As long as it lasts, each of PyTorch's operations has one thread: for what lies between tasks done at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _without_gradients(task: Callable[[], Result]) -> Result:
    """Whether gradients are wanted is each thread's own setting."""
    with torch.inference_mode(False), torch.no_grad():
        return task()
