"""JobFolders: a folder a job, for its user's eyes alone; what is in it outlives the server."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.files import write_json
from zoovet.json_files import read_json_object
from zoovet.serve.jobs import INTERRUPTED, Job, JobState, is_job_id

__all__ = ["JobFolders"]

_RECORD = "job.json"
_PRIVATE = 0o700


@dataclass(frozen=True)
class JobFolders:
    """Where jobs lie.

    Attributes:
        root: A folder a job, by its number.
    """

    root: Path

    def prepare(self) -> None:
        """Make the folder of all jobs, which nobody else may look into.

        Raises:
            ZoovetError: It cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
            self.root.chmod(_PRIVATE)
        except OSError as error:
            raise ZoovetError(f"cannot keep jobs in {self.root}: {error.strerror}; give another --data") from error

    def make(self, job_id: str) -> None:
        """Make the folders of a new job."""
        for folder in (self.folder(job_id), self.upload(job_id), self.results(job_id)):
            folder.mkdir(mode=_PRIVATE)

    def folder(self, job_id: str) -> Path:
        """A job's folder."""
        if not is_job_id(job_id):
            raise ZoovetError(f"{job_id!r} is no job")
        return self.root / job_id

    def upload(self, job_id: str) -> Path:
        """Where what was uploaded lies; it may be gone."""
        return self.folder(job_id) / "upload"

    def results(self, job_id: str) -> Path:
        """Where what was found lies."""
        return self.folder(job_id) / "results"

    def write(self, job: Job) -> None:
        """Keep how far a job is; whole or not at all."""
        write_json(self.folder(job.job_id) / _RECORD, job.to_json())

    def delete(self, job_id: str) -> None:
        """Take away a job and all that is of it."""
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def delete_upload(self, job_id: str) -> None:
        """Take away what was uploaded."""
        shutil.rmtree(self.upload(job_id), ignore_errors=True)

    def clear_results(self, job_id: str) -> None:
        """Take away what was found, for it is sought anew."""
        shutil.rmtree(self.results(job_id), ignore_errors=True)
        self.results(job_id).mkdir(mode=_PRIVATE)

    def has_upload(self, job_id: str) -> bool:
        """Whether what was uploaded is still there."""
        return self.upload(job_id).is_dir()

    def load(self) -> list[Job]:
        """The jobs of a server before this one, the oldest first; those that had not ended were interrupted.

        A folder without a job that can be read is taken away: its upload was not whole.
        """
        jobs = []
        for folder in sorted(self.root.iterdir()):
            if not is_job_id(folder.name) or folder.is_symlink():
                continue
            try:
                job = Job.from_json(read_json_object(folder / _RECORD), str(folder / _RECORD))
            except ZoovetError:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if job.job_id != folder.name:
                continue
            if not job.state.has_ended:
                job = replace(job, state=JobState.INTERRUPTED, error=INTERRUPTED, ended=job.created)
                self.write(job)
            jobs.append(job)
        return sorted(jobs, key=lambda one: one.created)
