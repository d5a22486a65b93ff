"""A run: a folder that starts with a configuration, survives interruptions, and ends with a checkpoint.

The folder holds ``config.yaml``, ``run.json`` (what the run is of, whether it is finished, how long it took, and
whether a time limit cut it short),
``checkpoint.safetensors`` (the best metanetwork so far; what users load), ``resume.ckpt`` (Lightning's state at the
last validation, removed at the end), and ``log/version_K`` (each session's ``metrics.csv`` and its logger's files).
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningModule, Trainer

from zoovet.config import config_to_dict, dotted, write_config, written_config
from zoovet.errors import ZoovetError
from zoovet.files import atomic_path, remove_dead_partials, storage_errors, write_json
from zoovet.folder_lock import FolderLock
from zoovet.json_files import read_json_object, typed_value
from zoovet.tasks.checkpoints import CHECKPOINT_NAME, library_versions, save_checkpoint
from zoovet.tasks.followers import Followers
from zoovet.tasks.loggers import session_loggers
from zoovet.tasks.network_pool import NetworkPool
from zoovet.tasks.resume_state import checked_state
from zoovet.tasks.state_file import StateFile
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import InversionProgress, Progress, TrainingProgress

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Run", "open_run", "zoo_facts"]

_RESUME_NAME = "resume.ckpt"
_MAY_DIFFER = ("zoo.path", "config.training.logger", "config.training.processes")
"""What may be another when a run is resumed."""


@dataclass(frozen=True)
class Run:
    """A run's folder, open for its training.

    Attributes:
        folder: Where it is.
        kind: What its checkpoint is for: ``detector``, ``repairer``.
        facts: What ``run.json`` says of the data; JSON values.
        finished: Whether the training has ended already.
        lock: What holds the folder until the training has ended, or nobody knows of the run any more.
    """

    folder: Path
    kind: str
    facts: dict[str, Any]
    finished: bool
    lock: FolderLock | None = field(default=None, repr=False, compare=False)

    def train(self, module: TaskModule, *, device: str, progress: Progress | None) -> None:
        """Train from where the run stands to its end; afterwards the folder holds the best checkpoint.

        Args:
            module: The task.
            device: ``cpu``, ``cuda`` or ``cuda:K``.
            progress: Told how it goes.

        Raises:
            ZoovetError: The device or the logger is not there, the loss is no longer finite, the state to resume from
                is damaged, or the disk does not take what is written; what was validated is kept.
            KeyboardInterrupt: Ctrl-C; the run can be resumed.
        """
        try:
            with storage_errors(self.folder):
                self._train(module, device=device, progress=progress)
        finally:
            self.release()

    def finish(self, seconds: float) -> None:
        """Say that a training has ended which went another way than :meth:`train`."""
        self.require_held()
        self._write(finished=True, seconds=round(seconds, 3), cut_short=None)

    def release(self) -> None:
        """Give the folder free."""
        if self.lock is not None:
            self.lock.release()

    def require_held(self) -> None:
        """Raise a :class:`zoovet.files.StorageError` where the folder is gone, or another process's."""
        if self.lock is not None:
            self.lock.require_held()

    def _train(self, module: TaskModule, *, device: str, progress: Progress | None) -> None:
        resume = self.folder / _RESUME_NAME
        state = checked_state(resume) if resume.exists() else None
        if state is not None and _has_ended(state):
            seconds, cut_short = _kept(state, "seconds"), _kept(state, "cut_short")
        else:
            keeper = _Keeper(self, progress)
            accelerator, processes = _accelerator(device), module.config.processes
            if processes > 1 and accelerator["accelerator"] != "cpu":
                raise ZoovetError(
                    f"training.processes shares a training among processor cores, which the device {device!r} is none "
                    f"of; set it to 1, or give --device cpu"
                )
            with _quiet(), session_loggers(self.folder, module.config.logger) as loggers, ExitStack() as stack:
                if processes > 1:
                    module.followers = stack.enter_context(Followers(processes))
                trainer = Trainer(
                    **accelerator,
                    max_steps=module.config.max_steps,
                    gradient_clip_val=module.config.gradient_clip,
                    reload_dataloaders_every_n_epochs=1,
                    num_sanity_val_steps=0,
                    logger=loggers,
                    callbacks=[keeper],
                    plugins=[StateFile()],
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                )
                _fit(trainer, module, resume if state is not None else None)
            seconds, cut_short = keeper.seconds, keeper.cut_short
        self.require_held()
        self._write(finished=True, seconds=round(seconds, 3), cut_short=cut_short)
        resume.unlink(missing_ok=True)

    def _write(
        self, *, finished: bool, seconds: float | None = None, cut_short: dict[str, float] | None = None
    ) -> None:
        state = {"kind": self.kind, "finished": finished, "seconds": seconds, "cut_short": cut_short}
        write_json(self.folder / "run.json", {**state, **self.facts})


def open_run(folder: Path | str, kind: str, config: DataclassInstance, facts: dict[str, Any]) -> Run:
    """Start a run in a folder, or find the one that was begun or finished there.

    Args:
        folder: Where; made where missing.
        kind: ``detector`` or ``repairer``.
        config: The task's configuration.
        facts: What the run is of, beside its configuration: JSON values.

    Raises:
        ZoovetError: The folder cannot be written to, is held by another process, or holds a run of another kind,
            configuration or zoo; the message names the first difference.
    """
    folder = Path(folder)
    lock = FolderLock(folder, "trained")
    try:
        finished = _begin_or_compare(folder, kind, config, facts)
        remove_dead_partials(folder)
    except BaseException:
        lock.release()
        raise
    if finished:
        lock.release()
    return Run(folder, kind, facts, finished, None if finished else lock)


def _begin_or_compare(folder: Path, kind: str, config: DataclassInstance, facts: dict[str, Any]) -> bool:
    """Write what a new run begins with, or check that it is the one that lies there; whether that is finished."""
    written = folder / "run.json"
    if not written.exists():
        path = folder / "config.yaml"
        if path.exists() and written_config(type(config), path) != config_to_dict(config):
            raise ZoovetError(f"{path} is there and of something else than this run; give another --out")
        write_config(config, path)
        Run(folder, kind, facts, finished=False)._write(finished=False)
        return False
    try:
        before = read_json_object(written)
        finished = typed_value(before, "finished", bool, f"{written} is damaged")
    except ZoovetError as error:
        raise ZoovetError(f"{error}; give another --out") from None
    for key in ("finished", "seconds", "cut_short"):
        before.pop(key, None)
    old = dotted({**before, "config": written_config(type(config), folder / "config.yaml")})
    new = dotted({"kind": kind, **facts, "config": config_to_dict(config)})
    for key in sorted((old.keys() | new.keys()) - set(_MAY_DIFFER)):
        if old.get(key) != new.get(key):
            name = key.removeprefix("config.")
            raise ZoovetError(
                f"{folder} holds {'a finished' if finished else 'an unfinished'} run with another {name}: "
                f"{old.get(key)!r} there, {new.get(key)!r} now; give another --out, or remove that folder"
            )
    if finished:
        (folder / _RESUME_NAME).unlink(missing_ok=True)  # of a run that was killed as it ended
    return finished


def zoo_facts(path: Path, train: NetworkPool, validation: NetworkPool) -> dict[str, Any]:
    """What a run and its checkpoint say of the zoo: where it is, which networks were used, and how many."""
    return {
        "path": str(path.resolve()),
        "train_fingerprint": train.fingerprint(),
        "validation_fingerprint": validation.fingerprint(),
        "num_train": len(train),
        "num_validation": len(validation),
        "num_left_out": train.num_left_out + validation.num_left_out,
    }


class _Keeper(Callback):
    """Keeps the time, the best checkpoint and the state to resume from, and reports progress."""

    def __init__(self, run: Run, progress: Progress | None) -> None:
        self._run = run
        self._progress = progress
        self._seconds_before, self._started = 0.0, time.monotonic()
        self._seconds_of_steps_before, self._steps_started = 0.0, time.monotonic()
        self.cut_short: dict[str, float] | None = None
        self._best: tuple[float, ...] | None = None
        self._num_since_best = 0
        self._ended = ""
        self._last_loss = math.nan
        self._figures: dict[str, float] | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know; plain values."""
        return {
            "seconds": self.seconds,
            "seconds_of_steps": self._seconds_of_steps,
            "cut_short": self.cut_short,
            "best": None if self._best is None else list(self._best),
            "num_since_best": self._num_since_best,
            "ended": self._ended,
            "figures": self._figures,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        self._seconds_before = state_dict["seconds"]
        self._seconds_of_steps_before = state_dict.get("seconds_of_steps", self._seconds_before)
        self._best = None if state_dict["best"] is None else tuple(state_dict["best"])
        self._num_since_best = state_dict["num_since_best"]
        self._figures = state_dict["figures"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; what comes before the steps is told of too."""
        self._started = time.monotonic()
        if self._progress is not None:
            _task(pl_module).tell_inverted = self._tell_inverted

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock that limits the steps, and tell the task what it says."""
        module = _task(pl_module)
        self._steps_started = time.monotonic()
        if (minutes := module.config.max_minutes) is not None:
            module.time_fraction = lambda: self._seconds_of_steps / (60 * minutes)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Refuse a loss that is not finite; end the training when its time is used up."""
        module = _task(pl_module)
        self._last_loss = module.loss_of_step
        if not math.isfinite(self._last_loss):
            raise ZoovetError(
                f"the loss of step {trainer.global_step - 1} is {self._last_loss}; lower training.learning_rate or "
                f"training.gradient_clip"
            )
        step, max_steps, minutes = trainer.global_step, module.config.max_steps, module.config.max_minutes
        if minutes is not None and module.time_fraction() >= 1 and step < max_steps:
            self.cut_short = {"steps": step, "max_steps": max_steps, "max_minutes": minutes}
            self._end(trainer, f"cut short: the time is up (max_minutes {minutes:g})")
        self._report(trainer, module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the best checkpoint; end the training when patience is used up."""
        module = _task(pl_module)
        assert module.validation is not None
        self._figures = module.validation.figures
        if self._best is None or module.validation.score > self._best:
            self._best, self._num_since_best = module.validation.score, 0
            self._save(module, module.validation, trainer.global_step)
        else:
            self._num_since_best += 1
            if module.config.patience is not None and self._num_since_best >= module.config.patience:
                self._end(trainer, f"{self._num_since_best} validations without improvement")
        self._report(trainer, module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the state, which is complete once validation is over."""
        self._run.require_held()
        with atomic_path(self._run.folder / _RESUME_NAME) as temporary:
            trainer.save_checkpoint(temporary)

    def _end(self, trainer: Trainer, reason: str) -> None:
        self._ended, trainer.should_stop = reason, True

    def _save(self, module: TaskModule, validation: Validation, step: int) -> None:
        self._run.require_held()
        description = {
            **module.describe(validation),
            "validation": validation.figures,
            "step": step,
            "seconds": self.seconds,
            "versions": library_versions(),
            **self._run.facts,
        }
        path, kind = self._run.folder / CHECKPOINT_NAME, self._run.kind
        save_checkpoint(path, kind, module.best_guess, description, module.extra_tensors())

    @property
    def seconds(self) -> float:
        """Wall time so far, that of earlier sessions included."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def _seconds_of_steps(self) -> float:
        """The same without what comes before the steps."""
        return self._seconds_of_steps_before + time.monotonic() - self._steps_started

    def _tell_inverted(self, num_networks: int, total: int) -> None:
        if self._progress is not None:
            self._progress(InversionProgress(num_networks, total, time.monotonic() - self._started))

    def _report(self, trainer: Trainer, module: TaskModule) -> None:
        if self._progress is not None:
            step = trainer.global_step
            fraction = 1.0 if self._ended else module.fraction_done(step)
            facts = (step, module.config.max_steps, fraction, self._seconds_of_steps, self._last_loss, self._figures)
            self._progress(TrainingProgress(*facts, ended=self._ended if step < module.config.max_steps else ""))


def _task(module: LightningModule) -> TaskModule:
    assert isinstance(module, TaskModule)
    return module


def _kept(state: dict[str, Any], name: str) -> Any:
    """What the keeper's state says of something; ``None`` where an earlier version did not keep it."""
    return next(callback.get(name) for callback in state["callbacks"].values() if "seconds" in callback)


def _has_ended(state: dict[str, Any]) -> bool:
    return any(callback.get("ended", False) for callback in state.get("callbacks", {}).values())


def _fit(trainer: Trainer, module: TaskModule, resume: Path | None) -> None:
    """Fit, and leave signals as they were, however it ended.

    Lightning makes Ctrl-C an exit and switches the signal off, and leaves its own handlers where its clearing up fails.
    """
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    except SystemExit:
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _accelerator(device: str) -> dict[str, Any]:
    """Trainer arguments for a device's name."""
    try:
        parsed = torch.device(device)
    except RuntimeError:
        raise ZoovetError(f"the device {device!r} is unknown; give cpu, cuda or cuda:K") from None
    if parsed.type == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    if parsed.type != "cuda":
        raise ZoovetError(f"the device {device!r} cannot train; give cpu, cuda or cuda:K")
    if (parsed.index or 0) >= torch.cuda.device_count():
        raise ZoovetError(f"the device {device!r} is not there: {torch.cuda.device_count()} CUDA devices are")
    return {"accelerator": "gpu", "devices": [parsed.index or 0]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's announcements and advice, not its errors, from the user."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings(
                "ignore", ".*LeafSpec.* is deprecated", FutureWarning
            )  # Lightning 2.6 on torch 2.13
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
