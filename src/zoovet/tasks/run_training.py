"""Training a run's metanetwork by Lightning, from where the run stands to its end."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningModule, Trainer

from zoovet.errors import ZoovetError
from zoovet.files import atomic_path, storage_errors
from zoovet.tasks.checkpoints import CHECKPOINT_NAME, library_versions, save_checkpoint
from zoovet.tasks.followers import Followers
from zoovet.tasks.loggers import session_loggers
from zoovet.tasks.resume_state import checked_state
from zoovet.tasks.runs import RESUME_NAME, Run
from zoovet.tasks.state_file import StateFile
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import InversionProgress, Progress, TrainingProgress

__all__ = ["train_run"]


def train_run(run: Run, module: TaskModule, *, device: str, progress: Progress | None) -> None:
    """Train from where a run stands to its end; afterwards its folder holds the best checkpoint.

    Args:
        run: Open, and not finished.
        module: The task.
        device: ``cpu``, ``cuda`` or ``cuda:K``.
        progress: Told how it goes.

    Raises:
        ZoovetError: The device or the logger is not there, the loss is no longer finite, the state to resume from is
            damaged, or the disk does not take what is written; what was validated is kept.
        KeyboardInterrupt: Ctrl-C; the run can be resumed.
    """
    try:
        with storage_errors(run.folder):
            _train(run, module, device=device, progress=progress)
    finally:
        run.release()


def _train(run: Run, module: TaskModule, *, device: str, progress: Progress | None) -> None:
    resume = run.folder / RESUME_NAME
    state = checked_state(resume) if resume.exists() else None
    if state is not None and _has_ended(state):
        seconds, cut_short = _kept(state, "seconds"), _kept(state, "cut_short")
    else:
        keeper = _Keeper(run, progress)
        accelerator, processes = _accelerator(device), module.config.processes
        if processes > 1 and accelerator["accelerator"] != "cpu":
            raise ZoovetError(
                f"training.processes shares a training among processor cores, which the device {device!r} is none "
                f"of; set it to 1, or give --device cpu"
            )
        with _quiet(), session_loggers(run.folder, module.config.logger) as loggers, ExitStack() as stack:
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
    run.finish(seconds, cut_short)
    resume.unlink(missing_ok=True)


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
        with atomic_path(self._run.folder / RESUME_NAME) as temporary:
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
