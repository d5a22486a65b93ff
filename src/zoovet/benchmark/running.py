"""Running a benchmark: job by job, each whole on disk or not there, so that an interrupted one goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from zoovet.benchmark.checks import (
    TRIALS_ONLY,
    require_known_families,
    require_same_choices,
    require_same_origin,
    require_same_settings,
    write_origin,
)
from zoovet.benchmark.config import BenchmarkConfig
from zoovet.benchmark.detectors import require_extras
from zoovet.benchmark.progress import Progress
from zoovet.benchmark.repairers import REPAIRERS
from zoovet.benchmark.trials import Trial, detection_trials, repair_trials
from zoovet.benchmark.worker import (
    BenchmarkWork,
    ChoiceJob,
    DetectionJob,
    InversionJob,
    Job,
    RepairJob,
    counted_networks,
    results_path,
)
from zoovet.errors import ZoovetError
from zoovet.files import remove_dead_partials, storage_errors
from zoovet.folder_lock import FolderLock, folder_lock, require_free_folder
from zoovet.jobs import Inline, Processes, Runner, results
from zoovet.tasks.inversion_images import inverts
from zoovet.zoo import Zoo

__all__ = ["run_benchmark"]

Tell = Callable[[str], None]

_INVERTED_AT_ONCE = 150


def run_benchmark(
    config: BenchmarkConfig,
    out: Path,
    *,
    data_root: Path | None,
    tell: Tell,
    workers: int = 1,
    runner: Runner | None = None,
) -> None:
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
        runner: Where jobs are done instead: a cluster, all of whose machines see ``out`` and the zoos.

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
        require_same_settings(config, out, TRIALS_ONLY)
        write_origin(origin, out)
        try:
            runner = runner or (Inline() if workers == 1 else Processes(workers))
            work = BenchmarkWork(config, out.absolute(), data_root, not isinstance(runner, Inline))
            _work(stages, runner, work, lock, tell)
        finally:
            remove_dead_partials(out, recursive=True)


def _work(stages: Sequence[Sequence[Job]], runner: Runner, work: BenchmarkWork, lock: FolderLock, tell: Tell) -> None:
    """Do what is missing, and tell of every job; nothing where no trial is."""
    if not stages[-1]:
        return
    progress = Progress(sum(map(len, stages)), tell)
    remedy = "what is done is kept: run the same again to go on, with fewer --workers if memory is short"
    with runner.crew(work) as crew:
        for stage in stages:
            for job, _ in results(crew.outcomes(stage), remedy):
                lock.require_held()
                progress.done(job)


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
