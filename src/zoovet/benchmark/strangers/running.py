"""Running a benchmark of strangers: job by job, each whole on disk or not there, so that an interrupted one goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoovet.benchmark.checks import require_same_settings
from zoovet.benchmark.progress import Progress
from zoovet.benchmark.strangers.config import StrangerBenchmarkConfig
from zoovet.benchmark.strangers.work import EvidenceJob, Job, LeftOutJob, RivalJob, StrangerWork, counted
from zoovet.errors import ZoovetError
from zoovet.files import remove_dead_partials, require_writable_folder, storage_errors, write_json
from zoovet.folder_lock import folder_lock, require_free_folder
from zoovet.jobs import Inline, Processes, Runner, results
from zoovet.json_files import read_json_object, typed_value
from zoovet.printable import printable
from zoovet.tasks.strangers.park_evidence import kinds_of, park_recipe
from zoovet.zoo import Zoo

__all__ = ["left_out_jobs", "opened_park", "run_stranger_benchmark"]

_TRIALS_ONLY = frozenset({"zoo", "evidence_folder", "left_out", "efforts", "other_images", "rivals"})
"""Settings that say what is measured or where it lies, not what one measurement is: they may change from run to run."""

_ORIGIN_NAME = "origin.json"


def opened_park(config: StrangerBenchmarkConfig, *, verify: bool = False) -> Zoo:
    """The park of a benchmark, or what is built of it.

    Raises:
        ZoovetError: There is none, it is a zoo of another kind, or damaged.
    """
    zoo = Zoo.open(config.zoo, verify=verify, finished_only=True)
    park_recipe(zoo)
    return zoo


def run_stranger_benchmark(
    config: StrangerBenchmarkConfig,
    out: Path,
    *,
    data_root: Path | None,
    tell: Callable[[str], None],
    workers: int = 1,
    runner: Runner | None = None,
) -> None:
    """Do everything of a benchmark that is not on disk yet.

    Results lie below ``out``: ``left_out/EFFORT/BY/KIND.IMAGES.parquet``, a row a network of the kind that was left
    out, ``rivals/BASE.parquet``, a row a test network and rival, and ``evidence/IMAGES/BASE.parquet``, where no other
    folder of evidence is given.

    Args:
        config: What.
        out: Its folder; made where missing. What is there already is kept.
        data_root: Where image datasets lie.
        tell: Told of every job that is done, at what rate, and how long the rest may take.
        workers: Processes, of one thread each; 1 works in this process.
        runner: Where jobs are done instead: a cluster, all of whose machines see ``out``, the zoo and the evidence.

    Raises:
        ZoovetError: The zoo is missing, damaged, no park or too small, its images are not there, evidence was sought
            otherwise, ``workers`` is below 1, or ``out`` is held by another process or holds another benchmark.
        KeyboardInterrupt: Ctrl-C; what is done is kept.
    """
    if workers < 1:
        raise ZoovetError(f"workers must be at least 1, got {workers}")
    require_free_folder(out, "written")
    zoo = opened_park(config, verify=True)
    _require_kinds(config, zoo)
    runner = runner or (Inline() if workers == 1 else Processes(workers))
    work = StrangerWork(config, zoo, out.absolute(), data_root, not isinstance(runner, Inline))
    _plan(work)  # what is refused leaves no folder behind; what lies there is read again below
    with folder_lock(out, "written") as lock, storage_errors(out):
        remove_dead_partials(out, recursive=True)
        require_same_settings(config, out, _TRIALS_ONLY)
        _require_same_zoo(zoo, out)
        stages = _plan(work)
        progress = Progress(sum(map(len, stages)), tell)
        remedy = "what is done is kept: run the same again to go on, with fewer --workers if memory is short"
        try:
            with runner.crew(work) as crew:
                for stage in stages:
                    for job, _ in results(crew.outcomes(stage), remedy):
                        lock.require_held()
                        progress.done(job)
        finally:
            remove_dead_partials(out, recursive=True)


def left_out_jobs(config: StrangerBenchmarkConfig, zoo: Zoo) -> list[LeftOutJob]:
    """Every training without a kind, on disk or not."""
    own, *others = config.by_images
    every, jobs = counted(zoo, config.min_asr), list[LeftOutJob]()
    for by in config.left_out:
        kinds = np.array(kinds_of(every, by))
        tested = set(kinds[every.column("split") == "test"].tolist())
        for effort in config.efforts:
            for kind in sorted(set(kinds.tolist())):
                jobs.append(LeftOutJob(effort, by, kind, (own, *(others if kind in tested else ()))))
    return jobs


def _plan(work: StrangerWork) -> tuple[list[Job], list[Job]]:
    """What is not on disk yet: evidence and rivals' scores, and the trainings, which need the evidence.

    Raises:
        ZoovetError: What is there was found otherwise.
    """
    config, found, trainings = work.config, list[Job](), list[Job]()
    for images in config.by_images:
        park = work.evidence(images)
        bases = sorted(set(park.zoo.column("base_id").tolist()))
        found += [EvidenceJob(images, base_id) for base_id in bases if not park.is_there(base_id)]
    if config.rivals:
        test = counted(work.zoo.split("test"), config.min_asr)
        jobs = [RivalJob(base_id) for base_id in sorted(set(test.column("base_id").tolist()))]
        found += [job for job in jobs if not work.rivals_are_done(job)]
    for job in left_out_jobs(config, work.zoo):
        missing = tuple(images for images in job.images if not job.path(work.out, images).exists())
        if missing:
            trainings.append(LeftOutJob(job.effort, job.by, job.kind, missing))
    return found, trainings


def _require_kinds(config: StrangerBenchmarkConfig, zoo: Zoo) -> None:
    """Check that without each kind there is something to train on, and test networks where something asks for them.

    Raises:
        ZoovetError: There is not.
    """
    every = counted(zoo, config.min_asr)
    if (config.rivals or config.other_images) and not (every.column("split") == "test").any():
        what = "rivals" if config.rivals else "other_images"
        raise ZoovetError(f"the park {zoo.path} has no test networks yet, which {what} are for; give --{what} '[]'")
    known = every.select(every.column("split") != "test")
    trojaned, bases = known.column("poisoned").astype(bool), known.column("base_id")
    for by in config.left_out:
        kinds, known_kinds = sorted(set(kinds_of(every, by))), np.array(kinds_of(known, by))
        if len(kinds) < 2:
            found = f"only one {by} ({printable(kinds[0])})" if kinds else "no networks"
            raise ZoovetError(f"the park {zoo.path} has {found}; leaving one out needs two: take {by} out of left_out")
        for kind in kinds:
            of_kind = np.array(kinds_of(every, by)) == kind
            rest = (known_kinds != kind) & ~np.isin(bases, every.column("base_id")[of_kind])
            for name, counts in (("healthy", ~trojaned), ("trojaned", trojaned)):
                if not (rest & counts).any():
                    raise ZoovetError(
                        f"without the {by} {printable(kind)} the park {zoo.path} has no {name} training networks "
                        f"(of an ASR of at least {config.min_asr:g}); build more of it, or take {by} out of left_out"
                    )


def _require_same_zoo(zoo: Zoo, out: Path) -> None:
    """Results of one folder come from one state of one park.

    Raises:
        ZoovetError: They were measured on other networks, or the file that says on which is damaged.
    """
    path = require_writable_folder(out) / _ORIGIN_NAME
    shards = [shard.sha256 for shard in zoo.info.shards]
    if path.exists():
        try:
            before = typed_value(read_json_object(path), "shards", list, f"{path} is damaged")
        except ZoovetError as error:
            raise ZoovetError(f"{error}; give another --out") from None
        if before != shards:
            raise ZoovetError(
                f"{out} holds a benchmark on another park: {len(before)} shards there, {len(shards)} now, or others; "
                f"give another --out (evidence of the bases that stayed is kept: evidence_folder)"
            )
    write_json(path, {"shards": shards})
