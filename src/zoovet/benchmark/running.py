"""Running a benchmark: job by job, each whole on disk or not there, so that an interrupted one goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Literal

import torch

from zoovet.benchmark.checks import (
    require_known_families,
    require_same_choices,
    require_same_origin,
    require_same_settings,
    write_origin,
)
from zoovet.benchmark.config import BenchmarkConfig
from zoovet.benchmark.detectors import require_extras
from zoovet.benchmark.repairers import REPAIRERS
from zoovet.benchmark.trials import Trial, detection_trials, repair_trials
from zoovet.benchmark.worker import (
    ChoiceJob,
    DetectionJob,
    InversionJob,
    Job,
    RepairJob,
    Worker,
    counted_networks,
    results_path,
)
from zoovet.errors import ZoovetError
from zoovet.files import remove_dead_partials, storage_errors
from zoovet.folder_lock import FolderLock, folder_lock, require_free_folder
from zoovet.processes import end_with_parent
from zoovet.tasks.inversion_images import inverts
from zoovet.zoo import Zoo

__all__ = ["run_benchmark"]

Tell = Callable[[str], None]

Crew = AbstractContextManager[Callable[[Sequence[Job]], Iterator[Job]]]

_INVERTED_AT_ONCE = 150


def run_benchmark(config: BenchmarkConfig, out: Path, *, data_root: Path | None, tell: Tell, workers: int = 1) -> None:
    """Do everything of a benchmark that is not on disk yet.

    Results lie below ``out``: ``detection/ZOO/DETECTOR/TRIAL/on-ZOO.parquet`` and
    ``repair/ZOO/REPAIRER/TRIAL/results.parquet``, one row a test network; trainings leave their runs beside them, and
    ``inversions/ZOO/`` has what inversion found in each network, for all trainings. What rival repairers were tried
    with on validation networks, and which settings were chosen, is in ``repair/ZOO/REPAIRER/choice.json``; which zoos
    and which revisions of detectors and repairers all of it comes from, in ``origin.json``.

    Args:
        config: What.
        out: Its folder; made where missing. Trials that are there already are kept.
        data_root: Where image datasets lie.
        tell: Told of every job that is done, and how long the rest may take.
        workers: Processes, of one thread each; 1 works in this process.

    Raises:
        ZoovetError: A zoo is missing, damaged or too small, a package is not installed, ``workers`` is below 1, ``out``
            is held by another process, or holds a benchmark of other settings, other zoos or older revisions of what is
            compared; or the disk does not take what is written.
        KeyboardInterrupt: Ctrl-C; what is done is kept.
    """
    if workers < 1:
        raise ZoovetError(f"workers must be at least 1, got {workers}")
    require_extras(config.detectors)
    require_free_folder(out, "written")
    zoos = {path.name: Zoo.open(path) for path in config.zoos}
    require_known_families(config, zoos)  # what is refused leaves no folder behind; what lies there is read again below
    require_same_choices(config, out)
    _plan(config, out, zoos)
    require_same_origin(config, out)
    for path in config.zoos:
        Zoo.open(path, verify=True)
    with folder_lock(out, "written") as lock, storage_errors(out):
        remove_dead_partials(out, recursive=True)
        require_same_choices(config, out)
        stages = _plan(config, out, zoos)
        origin = require_same_origin(config, out)
        require_same_settings(config, out)
        write_origin(origin, out)
        try:
            _work(stages, _crew(config, out, data_root, workers), lock, tell)
        finally:
            remove_dead_partials(out, recursive=True)


def _work(stages: Sequence[Sequence[Job]], crew: Crew, lock: FolderLock, tell: Tell) -> None:
    """Do what is missing, and tell of every job; nothing where no trial is."""
    if not stages[-1]:
        return
    progress = _Progress(sum(map(len, stages)), tell)
    with crew as do:
        for stage in stages:
            for job in do(stage):
                lock.require_held()
                progress.done(job)


class _Progress:
    """Counts jobs, and says how long the rest may take at the rate so far."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._total, self._tell = total, tell
        self._num_done, self._started = 0, time.monotonic()

    def done(self, job: Job) -> None:
        """Tell of one more."""
        self._num_done += 1
        left = (time.monotonic() - self._started) / self._num_done * (self._total - self._num_done)
        rest = f" ({left / 60:.0f} minutes left at this rate)" if left >= 60 else ""
        self._tell(f"{self._num_done} of {self._total}: {job}{rest}")


@contextmanager
def _crew(
    config: BenchmarkConfig, out: Path, data_root: Path | None, workers: int
) -> Iterator[Callable[[Sequence[Job]], Iterator[Job]]]:
    """A function that does jobs and yields each when it is done, in this process or in several, on one thread each."""
    if workers == 1:
        own, num_threads = Worker(config, out, data_root), torch.get_num_threads()

        def in_turn(jobs: Sequence[Job]) -> Iterator[Job]:
            for job in jobs:
                own.do(job)
                yield job

        torch.set_num_threads(1)  # threads that wait for each other starve where others use the cores
        try:
            yield in_turn
        finally:
            torch.set_num_threads(num_threads)
        return
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (config, out, data_root, os.getpid()))

    def side_by_side(jobs: Sequence[Job]) -> Iterator[Job]:
        waiting = {pool.submit(_do, job): job for job in jobs}
        for future in as_completed(waiting):
            future.result()
            yield waiting[future]

    try:
        with _one_thread_each():
            yield side_by_side
    except BaseException:
        for process in set(active_children()) - others:  # what they are at may take an hour, and would be waited for
            process.kill()  # a training in progress would only take note of a gentler word
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start here run on one thread."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


_worker: list[Worker] = []
"""The worker of a process of the crew; empty in the process that leads it."""


def _start(config: BenchmarkConfig, out: Path, data_root: Path | None, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that leads the crew ends it
    end_with_parent(parent)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # see zoovet.cli.main
    _worker.append(Worker(config, out, data_root))


def _do(job: Job) -> None:
    _worker[0].do(job)


def _plan(config: BenchmarkConfig, out: Path, zoos: Mapping[str, Zoo]) -> tuple[list[Job], list[Job], list[Job]]:
    """What is not on disk yet: inversions, choices of settings and trials, each of which needs those before.

    Raises:
        ZoovetError: A zoo is too small for a trial.
    """
    detection, repair = list[Job](), list[Job]()
    inversions, choices = list[InversionJob](), list[ChoiceJob]()
    for name, zoo in zoos.items():
        for trial in detection_trials(config, name, zoo):
            if missing := [on for on in _scored(config, trial) if not results_path(out, trial, on).exists()]:
                detection.append(DetectionJob(trial, tuple(missing)))
                if trial.model == "scalegmn" and inverts(config.detection.metanetwork):
                    for on in (name, *missing):
                        inversions += _inversions(config, "detection", name, on, zoos[on])
        for trial in repair_trials(config, name):
            if not results_path(out, trial).exists():
                repair.append(RepairJob(trial))
                if trial.model == "scalegmn" and inverts(config.repair.metanetwork):
                    inversions += _inversions(config, "repair", name, name, zoo)
                if REPAIRERS[trial.model].has_choice:
                    choices.append(ChoiceJob(name, trial.model))
    return (
        [job for job in dict.fromkeys(inversions) if not job.path(out).exists()],
        [job for job in dict.fromkeys(choices) if not job.path(out).exists()],
        detection + repair,
    )


def _scored(config: BenchmarkConfig, trial: Trial) -> tuple[str, ...]:
    """The zoos whose test networks a detector scores."""
    if "transfer" in config.parts and trial.left_out is None and trial.num_bases is None:
        return (trial.zoo, *(path.name for path in config.zoos if path.name != trial.zoo))
    return (trial.zoo,)


def _inversions(
    config: BenchmarkConfig, purpose: Literal["detection", "repair"], name: str, on: str, source: Zoo
) -> list[InversionJob]:
    """All networks of the detector's own zoo; of another one those that are scored."""
    count = len(source if on == name else counted_networks(source, config.min_asr))
    return [
        InversionJob(purpose, name, on, start, min(count, start + _INVERTED_AT_ONCE))
        for start in range(0, count, _INVERTED_AT_ONCE)
    ]
