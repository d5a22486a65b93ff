"""Where a run's figures go: always into ``metrics.csv``, and beside it to TensorBoard or to Weights & Biases."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar

from zoovet.config import read_yaml
from zoovet.errors import ZoovetError
from zoovet.tasks.training_config import LoggerName

__all__ = ["require_logger", "session_loggers"]


def require_logger(name: LoggerName) -> None:
    """Check that a logger can be used here, before any work is done.

    Raises:
        ZoovetError: Its package is not installed; the message holds the command that installs it.
    """
    if name == "wandb" and find_spec("wandb") is None:
        raise ZoovetError(
            "the logger wandb needs the package wandb, which is not installed; install it with "
            "`pip install 'zoovet[wandb]'` (in a checkout '.[wandb]'), or choose the logger tensorboard or none"
        )


@contextmanager
def session_loggers(folder: Path, name: LoggerName) -> Iterator[list[Logger]]:
    """The loggers of one session of a run; everything lies in ``log/version_K``, K counting the sessions.

    Weights & Biases gets a run of its own for each session, named as the folder, with ``config.yaml`` as its
    configuration, in the project ``WANDB_PROJECT`` (default ``zoovet``). ``WANDB_MODE=offline`` keeps it on disk.

    Args:
        folder: The run's, with its ``config.yaml``.
        name: What to log to beside ``metrics.csv``.

    Raises:
        ZoovetError: Weights & Biases is not installed or cannot be started: not logged in, not reached.
    """
    require_logger(name)
    csv_logger = CSVLogger(folder, name="log", flush_logs_every_n_steps=1)  # a look at a running one
    if name == "wandb":
        _ = csv_logger.experiment  # makes the session's folder, and warns of one that is not empty
        with _wandb_logger(folder, Path(csv_logger.log_dir)) as logger:
            yield [csv_logger, logger]
    elif name == "tensorboard":
        _ = csv_logger.experiment  # makes the session's folder
        yield [csv_logger, _EventFile(Path(csv_logger.log_dir))]
    else:
        yield [csv_logger]


class _EventFile(Logger):
    """TensorBoard's events, written in the training's own thread.

    TensorBoard's writer has a thread of its own, which prints a traceback where a disk fills or a folder vanishes; here
    the error reaches the training, which says it in one line.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))

    @property
    def name(self) -> str:
        """The folder's name below the run's."""
        return "log"

    @property
    def version(self) -> str:
        """The session's folder."""
        return self._path.parent.name

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Write nothing: a run has its configuration beside it."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one event that holds all figures of a step.

        Raises:
            OSError: It cannot be written.
        """
        event = Event(wall_time=time.time(), step=step)
        for name, value in metrics.items():
            event.summary.MergeFrom(scalar(name, value))
        self._append(event)

    def _append(self, event: Event) -> None:
        with self._path.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())


@contextmanager
def _wandb_logger(folder: Path, log_folder: Path) -> Iterator[WandbLogger]:
    """A run of Weights & Biases that ends with the block; marked as failed where the block fails."""
    import wandb  # takes seconds, and is optional

    config = read_yaml(folder / "config.yaml")
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "zoovet"),
            name=folder.resolve().name,
            dir=log_folder,
            config=config,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )
    except wandb.Error as error:
        raise ZoovetError(
            f"Weights & Biases cannot be started: {str(error).strip().rstrip('.')}; log in with `wandb login`, set "
            f"WANDB_MODE=offline, or choose another logger"
        ) from error
    try:
        yield WandbLogger(experiment=run)
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()
