"""JobQueue: jobs one after another, or a few at a time; each is on disk before it is accepted and after it ended."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.processes import num_usable_cores
from zoovet.progress_texts import share_done
from zoovet.serve.config import ServeConfig
from zoovet.serve.job_folders import JobFolders
from zoovet.serve.job_process import Outcome, TaskLimits, prepare_processes, run_task
from zoovet.serve.jobs import INTERRUPTED, Job, JobOptions, JobState, Order, Summary, Task

__all__ = ["JobQueue", "NoSuchJob", "QueueFull"]

_SWEEP_SECONDS = 20.0


class QueueFull(ZoovetError):
    """As many jobs wait as may."""


class NoSuchJob(ZoovetError):
    """There is no such job, or what is asked of it cannot be done now."""


class JobQueue:
    """Accepts jobs, runs them, keeps them.

    Args:
        config: Where, and within what limits.
        run: What runs a task; by default a process of its own.
    """

    def __init__(self, config: ServeConfig, run: Callable[..., Outcome] = run_task) -> None:
        self.config = config
        self.folders = JobFolders(config.data)
        self._run = run
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[str] = deque()
        self._doing: dict[str, str] = {}
        self._shares: dict[str, float] = {}
        self._cancelled: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._limits = TaskLimits(
            seconds=config.job_seconds,
            memory_bytes=config.job_memory_bytes,
            num_threads=max(1, num_usable_cores() // config.at_once),
        )

    def open(self) -> None:
        """Take up the jobs of the server before this one, and begin to work."""
        self.folders.prepare()
        self._jobs = {job.job_id: job for job in self.folders.load()}
        prepare_processes()
        targets = [self._work] * self.config.at_once + [self._sweep]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End what runs; what runs or waits is interrupted."""
        with self._changed:
            self._is_closed = True
            for event in self._cancelled.values():
                event.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for job in self.jobs():
            if not job.state.has_ended:
                self._ended(job, JobState.INTERRUPTED, INTERRUPTED)

    def jobs(self) -> list[Job]:
        """All jobs, the newest first."""
        with self._changed:
            return sorted(self._jobs.values(), key=lambda job: -job.created)

    def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            NoSuchJob: There is none.
        """
        with self._changed:
            if job_id not in self._jobs:
                raise NoSuchJob("there is no such job; it may have been deleted")
            return self._jobs[job_id]

    def doing(self, job_id: str) -> str:
        """What is being done in a job; how many are before it; empty where it has ended."""
        with self._changed:
            if job_id in self._waiting:
                before = self._waiting.index(job_id) + len(self._doing)
                return "next in line" if before == 0 else f"{before} before it"
            return self._doing.get(job_id, "")

    def share_done(self, job_id: str) -> float | None:
        """The share of a running job's task that is done, as far as it said; ``None`` where it said none."""
        with self._changed:
            return self._shares.get(job_id)

    def has_room(self) -> bool:
        """Whether one more job may wait."""
        with self._changed:
            return not self._is_closed and len(self._waiting) < self.config.max_waiting

    def require_room(self) -> None:
        """Raise where no more jobs may wait.

        Raises:
            QueueFull: It is so.
        """
        if not self.has_room():
            raise QueueFull(f"{self.config.max_waiting:,} jobs wait already; try again in a while")

    def reserve(self) -> str:
        """A new job's number, and the folder for its uploads.

        Raises:
            QueueFull: As many jobs wait as may.
        """
        self.require_room()
        job_id = secrets.token_hex(8)
        self.folders.make(job_id)
        return job_id

    def submit(self, job: Job) -> Job:
        """Accept a job whose uploads lie in its folder.

        Raises:
            QueueFull: As many jobs wait as may.
        """
        with self._changed:
            self.require_room()
            return self._queued(replace(job, created=time.time()))

    def again(self, job_id: str, options: JobOptions) -> Job:
        """Scan a job's network again, with other options.

        Raises:
            NoSuchJob: It has not ended, or what was uploaded is gone.
            QueueFull: As many jobs wait as may.
        """
        with self._changed:
            job = self._with_upload(job_id)
            self.folders.clear_results(job_id)
            fresh = Job(job_id=job_id, file=job.file, images=job.images, is_from_page=job.is_from_page)
            return self._queued(replace(fresh, options=options, created=job.created))

    def heal(self, job_id: str) -> Job:
        """Heal the network of a job that was scanned.

        Raises:
            NoSuchJob: It has not ended, or what was uploaded is gone.
            QueueFull: As many jobs wait as may.
        """
        with self._changed:
            job = self._with_upload(job_id)
            return self._queued(replace(job, task=Task.HEAL, healed="", healing=(), error="", choices=()))

    def cancel(self, job_id: str) -> Job:
        """End a job that has not ended; of one that has, nothing."""
        with self._changed:
            job = self.job(job_id)
            if job_id in self._waiting:
                self._waiting.remove(job_id)
                return self._ended(job, JobState.CANCELLED)
            if job_id in self._cancelled:
                self._cancelled[job_id].set()
                while job_id in self._cancelled and not self._is_closed:
                    self._changed.wait(0.5)
            return self.job(job_id)

    def delete(self, job_id: str) -> None:
        """Take away a job and all that is of it; one that has not ended is cancelled first."""
        self.cancel(job_id)
        with self._changed:
            self._jobs.pop(job_id, None)
            self.folders.delete(job_id)

    def _with_upload(self, job_id: str) -> Job:
        job = self.job(job_id)
        if not job.state.has_ended:
            raise NoSuchJob("this job has not ended yet")
        if not self.folders.has_upload(job_id):
            raise NoSuchJob("its file was deleted meanwhile; upload it again")
        self.require_room()
        return job

    def _queued(self, job: Job) -> Job:
        return self._kept(replace(job, state=JobState.QUEUED, started=0.0, ended=0.0), waits=True)

    def _kept(self, job: Job, *, waits: bool = False) -> Job:
        with self._changed:
            self.folders.write(job)
            self._jobs[job.job_id] = job
            if waits:
                self._waiting.append(job.job_id)
                self._changed.notify_all()
            return job

    def _ended(self, job: Job, state: JobState, error: str = "", **found: Any) -> Job:
        job = self._kept(replace(job, state=state, ended=time.time(), error=error, **found))
        if not job.is_from_page:
            self.folders.delete_upload(job.job_id)
        return job

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                job_id = self._waiting.popleft()
                self._doing[job_id] = "it begins"
                self._cancelled[job_id] = threading.Event()
                job = replace(self._jobs[job_id], state=JobState.RUNNING, started=time.time())
                self._jobs[job_id] = job
            try:
                self._end_of(job, self._outcome(job))
            except Exception as error:  # what came of it cannot be kept, but can be told; the queue goes on
                why = f"what came of it cannot be kept: {printable(error) or type(error).__name__}"
                with self._changed:
                    self._jobs[job_id] = replace(job, state=JobState.FAILED, ended=time.time(), error=why)
            finally:
                with self._changed:
                    del self._doing[job_id], self._cancelled[job_id]
                    self._shares.pop(job_id, None)
                    self._changed.notify_all()

    def _outcome(self, job: Job) -> Outcome:
        order = Order(
            file=job.file,
            images=job.images,
            options=job.options,
            results=self.folders.results(job.job_id),
            max_image_files=self.config.max_image_files,
            max_unpacked_bytes=self.config.max_unpacked_bytes,
        )

        def tell(doing: str) -> None:
            with self._changed:
                self._doing[job.job_id] = doing or self._doing[job.job_id]
                share = share_done(doing)
                if share is not None:
                    self._shares[job.job_id] = max(share, self._shares.get(job.job_id, 0.0))

        folder = str(self.folders.upload(job.job_id))
        try:
            return self._run(job.task, order, folder, self._limits, tell=tell, cancelled=self._cancelled[job.job_id])
        except Exception as error:  # a job's failure is its own
            return Outcome(found=None, error=f"it could not be run: {type(error).__name__}: {printable(error)}")

    def _end_of(self, job: Job, outcome: Outcome) -> None:
        """Keep what came of a task."""
        found = outcome.found
        if self._cancelled[job.job_id].is_set() and found is None:
            if self._is_closed:
                self._ended(job, JobState.INTERRUPTED, INTERRUPTED)
            else:
                self._ended(job, JobState.CANCELLED)
        elif found is None:
            self._ended(job, JobState.FAILED, outcome.error)
        elif job.task == Task.HEAL:
            self._ended(job, JobState.FINISHED, healed=found["healed"], healing=tuple(found["healing"]))
        else:
            self._ended(
                job,
                JobState.FAILED if found["error"] and not found["summaries"] else JobState.FINISHED,
                found["error"],
                choices=tuple(found["choices"]),
                summaries=tuple(Summary(**one) for one in found["summaries"]),
                notes=tuple(found["notes"]),
                num_networks=found["num_networks"],
            )

    def _sweep(self) -> None:
        """Delete uploads whose time is over, and the oldest jobs where there are too many."""
        while True:
            self.sweep()
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closed, _SWEEP_SECONDS):
                    return

    def sweep(self) -> None:
        """Delete uploads whose time is over, and the oldest jobs that ended where there are too many."""
        now = time.time()
        ended = [job for job in self.jobs() if job.state.has_ended]
        for job in ended:
            if not job.is_from_page or now - job.ended > self.config.keep_seconds:
                with self._changed:
                    if self._jobs.get(job.job_id) is job:  # and does not wait again
                        self.folders.delete_upload(job.job_id)
        num_beyond = len(self.jobs()) - self.config.max_jobs
        for job in ended[::-1][: max(0, num_beyond)]:
            self.delete(job.job_id)
