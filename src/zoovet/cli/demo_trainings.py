"""The demo's trainings, side by side where there are cores for them: each runs on one thread and needs only the zoo."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import torch

from zoovet.cli.train import train_with_progress
from zoovet.cli.train_configs import TASKS, TrainingData
from zoovet.cli.training_bar import Show, training_bars
from zoovet.processes import end_with_parent

if TYPE_CHECKING:
    from zoovet.tasks.training_config import InversionProgress, TrainingProgress

__all__ = ["Training", "train_all"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training.

    Attributes:
        name: Folder of its run below the demo's, and its name in what is shown.
        task: Its name in the table of tasks.
        config: The task's own configuration.
    """

    name: str
    task: str
    config: Any


def train_all(
    trainings: Sequence[Training],
    data: TrainingData,
    out: Path,
    *,
    device: str,
    data_root: Path | None,
    side_by_side: bool,
) -> None:
    """Train while bars show how it goes; the figures are the same either way.

    Args:
        trainings: What.
        data: What all of them are trained on.
        out: Folder of the demo.
        device: ``cpu``, ``cuda`` or ``cuda:K``.
        data_root: Folder of image datasets; ``None``: the usual one.
        side_by_side: All at once, all but the last in a process of its own; else one after the other.

    Raises:
        KeyboardInterrupt: Ctrl-C; its message says how to go on.
        ZoovetError: What :func:`~zoovet.cli.train.train_with_progress` raises, of whichever training.
    """

    def arguments(training: Training) -> tuple[Any, ...]:
        return (training.task, training.config, data, out / training.name, device, data_root)

    others = trainings[:-1] if side_by_side else ()
    figures = {training.name: TASKS[training.task].shown for training in trainings}
    with training_bars(figures) as shows, ExitStack() as stack:
        started = [stack.enter_context(_elsewhere(arguments(training), shows[training.name])) for training in others]

        def watched(show: Show) -> Show:
            def shown(progress: TrainingProgress | InversionProgress) -> None:
                for future in started:
                    if future.done():
                        future.result()  # raises what ended it, now and not when this training has ended
                show(progress)

            return shown

        for training in trainings[len(others) :]:
            _train(watched(shows[training.name]), *arguments(training))
        for future in started:
            future.result()


def _train(
    show: Show, task: str, config: Any, data: TrainingData, out: Path, device: str, data_root: Path | None
) -> None:
    train_with_progress(task, config, data, out, device=device, data_root=data_root, show=show)


@contextmanager
def _elsewhere(arguments: tuple[Any, ...], show: Show) -> Iterator[Future[None]]:
    """A training in a process of its own, which ends with the block."""
    others, context = set(active_children()), get_context("spawn")
    reading, writing = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(1, context, _start, (writing, os.getpid()))
    future = pool.submit(_train_and_tell, arguments)
    writing.close()  # its process has a copy: reading ends when that process ends
    teller = Thread(target=_pass_on, args=(reading, show), daemon=True)
    teller.start()
    try:
        yield future
    except BaseException:
        for process in set(active_children()) - others:
            process.kill()  # it may be in the middle of a long step; what it has validated is kept
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        teller.join()


def _pass_on(reading: Connection, show: Show) -> None:
    with suppress(EOFError), reading:
        while True:
            show(reading.recv())


_told: list[Connection] = []
"""Where a training's process tells its progress; empty in all other processes."""


def _start(writing: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that began it ends it
    end_with_parent(parent)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # see zoovet.cli.main
    _told.append(writing)


def _train_and_tell(arguments: tuple[Any, ...]) -> None:
    _train(_told[0].send, *arguments)
