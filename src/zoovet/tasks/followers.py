"""Processes that follow a training: at each step they take its parameters and give the gradient of their share.

The process that leads keeps the optimizer, validates and writes; the others know nothing but the step's number, how far
the training is, and the parameters. So a run is resumed with any number of them, and they cannot drift apart. They
speak through gloo, on this machine's own address.
"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from multiprocessing import connection, current_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.distributed as dist
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.jobs.hiring import Gone, Raised, Ready
from zoovet.jobs.process_workers import ProcessWorker
from zoovet.jobs.runner import Tell
from zoovet.processes import num_usable_cores
from zoovet.tasks.shares import Share

if TYPE_CHECKING:
    from zoovet.tasks.training import TaskModule

__all__ = ["Followers"]

_OWN_ADDRESS = "127.0.0.1"
_POLL_SECONDS = 2e-4
_OBITUARY_SECONDS = 5.0
_PATIENCE = timedelta(days=7)
"""A validation, or a machine that sleeps, may take any time; that somebody ended is noticed at once."""


class Followers:
    """The processes that follow this one: none before :meth:`start`, nor after the block that holds this.

    Args:
        count: How many processes share the training, this one included; at least 2.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._workers: list[ProcessWorker] = []
        self._group: Any = None  # torch does not say its type
        self._left = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        self._workers, self._group = [], None
        self._left.close()

    def start(self, module: TaskModule) -> None:
        """Start them with a task as it stands; this process goes on with its part of the cores.

        Raises:
            ZoovetError: This process may start none, or one ended as it began.
        """
        if current_process().daemon:
            raise ZoovetError(
                "training.processes above 1 is no choice where trainings run side by side, in processes of their own; "
                "leave it out"
            )
        if not (dist.is_available() and dist.is_gloo_available()):
            raise ZoovetError("this build of PyTorch has no gloo, which processes need; set training.processes to 1")
        threads = max(1, num_usable_cores() // self.count)
        meeting = Path(self._left.enter_context(tempfile.TemporaryDirectory(prefix="zoovet-"))) / "meeting"
        work = pickle.dumps(_Following(pickle.dumps(module), str(meeting), self.count, threads))
        for _ in range(1, self.count):
            self._workers.append(ProcessWorker(work))
        for index, worker in enumerate(self._workers, start=1):
            if not isinstance(event := worker.said(), Ready):
                raise _ended(event)
            worker.give(pickle.dumps(index))
        self._left.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(threads)
        self._group = _joined(str(meeting), 0, self.count)
        module.share = Share(0, self.count)

    def begin(self, step: int, fraction: float, parameters: Sequence[Tensor]) -> None:
        """Let all begin a step.

        Args:
            step: Its number.
            fraction: How much of the training's time is used up, in [0, 1].
            parameters: As they stand.
        """
        assert self._group is not None, "followers have started"
        order = torch.tensor([step, fraction], dtype=torch.float64)
        self._wait(self._group.broadcast([order], _from_leader()))
        self._wait(self._group.broadcast([_flat(parameters)], _from_leader()))

    def gather(self, parameters: Sequence[Tensor], loss: Tensor) -> float:
        """Add up the gradients of all shares, into the parameters' ``grad``; gives the sum of the losses."""
        assert self._group is not None, "followers have started"
        found = _found(parameters, loss)
        self._wait(self._group.allreduce([found]))
        gradients, is_there, (total,) = found.split([found.numel() - len(parameters) - 1, len(parameters), 1])
        pieces = gradients.split([parameter.numel() for parameter in parameters])
        for parameter, piece, there in zip(parameters, pieces, is_there.tolist(), strict=True):
            parameter.grad = piece.reshape(parameter.shape).clone() if there else None
        return float(total)

    def _wait(self, work: Any) -> None:
        """Wait so that Ctrl-C is heard; where somebody is gone, say why."""
        while not work.is_completed():
            time.sleep(_POLL_SECONDS)
        try:
            work.wait()
        except RuntimeError as error:
            speaking = connection.wait([worker.line for worker in self._workers], _OBITUARY_SECONDS)
            for worker in self._workers:
                if worker.line in speaking:
                    raise _ended(worker.said()) from error
            raise


@dataclass(frozen=True)
class _Following:
    """What a follower is told once.

    Attributes:
        module: The task, pickled.
        meeting: File by which they find one another.
        count: Processes, the one that leads included.
        threads: Of each.
    """

    module: bytes
    meeting: str
    count: int
    threads: int

    def start(self) -> Callable[[int, Tell], None]:
        """See :meth:`zoovet.jobs.Work.start`."""
        module = pickle.loads(self.module)

        def follow(index: int, tell: Tell) -> None:
            torch.set_num_threads(self.threads)
            torch.set_flush_denormal(True)
            _follow(module, _joined(self.meeting, index, self.count), Share(index, self.count))

        return follow


def _follow(module: TaskModule, group: Any, share: Share) -> None:
    """Take part in steps until this process is ended."""
    module.share = share
    module.train()
    parameters = module.learned
    order = torch.zeros(2, dtype=torch.float64)
    while True:
        group.broadcast([order], _from_leader()).wait()
        step, fraction = order.tolist()
        values = _flat(parameters)
        group.broadcast([values], _from_leader()).wait()
        with torch.no_grad():
            for parameter, piece in zip(parameters, values.split([one.numel() for one in parameters]), strict=True):
                parameter.copy_(piece.reshape(parameter.shape))
                parameter.grad = None
        module.time_fraction = partial(float, fraction)
        loss, _ = module.share_of_loss(int(step))
        loss.backward()
        group.allreduce([_found(parameters, loss)]).wait()


def _joined(meeting: str, index: int, count: int) -> Any:
    """The group of all processes, once all are there."""
    untyped: Any = dist  # torch does not say the types of these
    gloo = untyped.ProcessGroupGloo
    options = gloo._Options()
    options._devices = [gloo.create_device(hostname=_OWN_ADDRESS)]
    options._timeout = _PATIENCE
    return gloo(untyped.FileStore(meeting, count), index, count, options)


def _from_leader() -> Any:
    options = dist.BroadcastOptions()
    options.rootRank = 0
    return options


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _found(parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
    """All gradients, whether each is there, and the loss, as one vector."""
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    is_there = loss.new_tensor([one.grad is not None for one in parameters])
    return torch.cat([_flat(gradients), is_there.to(gradients[0].dtype), loss.detach().reshape(1)])


def _ended(event: Any) -> Exception:
    """Why a training cannot go on with one that ended."""
    if isinstance(event, Raised) and isinstance(event.error, Exception):
        event.error.add_note(event.traceback)
        return event.error
    cause = event.cause if isinstance(event, Gone) else "ended"
    return ZoovetError(
        f"a process that this training is shared with was {cause}; the same command resumes it, with another "
        f"training.processes if that is wanted"
    )
