"""ServeConfig: where a server keeps its jobs, and what each of them may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoovet.errors import ZoovetError

__all__ = ["ServeConfig"]


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Where a server keeps its jobs, and what each of them may take.

    Attributes:
        data: Folder of the jobs: what was uploaded, what was found. Made absolute, as jobs run in folders of their own.
        at_once: Jobs that run at the same time.
        max_waiting: Jobs that may wait; further ones are refused.
        max_upload_bytes: Of one request: a network and images.
        max_image_files: Of one job, uploaded or in a zip.
        max_unpacked_bytes: Of the files in a zip.
        job_seconds: That a job may take.
        job_memory_bytes: That a job may take.
        keep_seconds: For which an upload from the page is kept after its job ended, to scan it again or heal it.
        max_jobs: Jobs that are kept; the oldest that ended go first.

    Raises:
        ZoovetError: A number is below 1.
    """

    data: Path
    at_once: int = 1
    max_waiting: int = 50
    max_upload_bytes: int = 2 * 2**30
    max_image_files: int = 20_000
    max_unpacked_bytes: int = 2 * 2**30
    job_seconds: int = 1800
    job_memory_bytes: int = 8 * 2**30
    keep_seconds: int = 3600
    max_jobs: int = 500

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.data.absolute())
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise ZoovetError(f"{name} must be at least 1, got {value}")
