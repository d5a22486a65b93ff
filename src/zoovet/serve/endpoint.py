"""The endpoint for programs: a network is sent, its verdict is asked for later."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field

from zoovet.serve.job_queue import JobQueue
from zoovet.serve.jobs import EFFORTS, SCALINGS, Job, JobState
from zoovet.serve.receiving import received_job
from zoovet.serve.results import SCAN_NAME

__all__ = ["Accepted", "Answer", "Status", "endpoint"]


class Status(StrEnum):
    """How far a scan is."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Accepted(BaseModel):
    """A scan that was accepted: it is on disk, and its verdict will be there."""

    id: str = Field(description="Number of the scan.")
    status: Status = Field(description="`pending`.")
    url: str = Field(description="Where its verdict will be.")


class Answer(BaseModel):
    """How far a scan is, and what it found."""

    id: str = Field(description="Number of the scan.")
    status: Status = Field(
        description="`pending`: ask again. `done`: `result` has verdicts. `failed`: the file could not be scanned, and "
        "`result` says why. `cancelled`. `interrupted`: the server was ended first; send the file again."
    )
    doing: str = Field(description="What is being done; empty where nothing is.")
    result: dict[str, Any] | None = Field(
        description="What `zoovet scan --json` prints, `verdicts`, `errors` and `notes`; null where there is no answer."
    )


class Refused(BaseModel):
    """Why something was not done."""

    error: str


_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "The network: any file that `zoovet scan` reads.",
        },
        "images": {
            "type": "string",
            "format": "binary",
            "description": "Reference images: a .zip of class folders, or an .npz with `images` and `labels`.",
        },
        "architecture": {
            "type": "string",
            "description": "What a state dict holds, where it does not tell: `resnet20`.",
        },
        "activation": {"type": "string", "description": "Hidden activation, where weights leave it open: `relu`."},
        "scaling": {"type": "string", "enum": list(SCALINGS), "description": "Input scaling by name."},
        "input_range": {"type": "string", "description": "The same in numbers: what 0 and 255 become, `0,1`."},
        "mean": {"type": "string", "description": "Then subtracted, one for all channels or each: `0.5`."},
        "std": {"type": "string", "description": "Then divided by, one for all channels or each: `0.5`."},
        "input_shape": {"type": "string", "description": "Channels, height, width, where open: `3,32,32`."},
        "effort": {"type": "string", "enum": list(EFFORTS), "default": "normal"},
    },
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refused, "description": "It is no such form."},
    413: {"model": Refused, "description": "It is too large."},
    429: {"model": Refused, "description": "As many jobs wait as may: try again after a while. Nothing was kept."},
}
_JobId = Annotated[str, PathParameter(description="Number of the scan.", pattern="^[0-9a-f]{16}$")]


def endpoint(queue: JobQueue) -> APIRouter:
    """Its routes.

    Args:
        queue: What is asked for goes there.
    """
    routes = APIRouter()

    @routes.post(
        "/scan",
        status_code=202,
        responses=_REFUSALS,
        summary="Send a network",
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}},
    )
    async def send(request: Request, response: Response) -> Accepted:
        """Accept a network, answer at once, and scan it when its turn comes."""
        job = await received_job(queue, request, is_from_page=False)
        url = f"/scan/{job.job_id}"
        response.headers["Location"] = url
        return Accepted(id=job.job_id, status=Status.PENDING, url=url)

    @routes.get("/scan/{job_id}", summary="Ask for a verdict", responses={404: {"model": Refused}})
    def ask(job_id: _JobId) -> Answer:
        """Say how far a scan is, and what it found."""
        job = queue.job(job_id)
        doing = "" if job.state.has_ended else queue.doing(job_id)
        return Answer(id=job_id, status=_status(job), doing=doing, result=_result(job, queue.folders.results(job_id)))

    @routes.delete("/scan/{job_id}", summary="Cancel and forget", status_code=204, responses={404: {"model": Refused}})
    def forget(job_id: _JobId) -> None:
        """Cancel a scan that has not ended, and delete all that is kept of it."""
        queue.job(job_id)
        queue.delete(job_id)

    @routes.get("/health", summary="Ask whether the server runs")
    def health() -> dict[str, str]:
        """Answer, to whoever asks."""
        return {"status": "ok"}

    return routes


def _status(job: Job) -> Status:
    if not job.state.has_ended:
        return Status.PENDING
    return Status.DONE if job.state == JobState.FINISHED else Status(job.state.value)


def _result(job: Job, results: Path) -> dict[str, Any] | None:
    path = results / SCAN_NAME
    if job.state == JobState.FINISHED or (job.state == JobState.FAILED and path.is_file()):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    if job.state == JobState.FAILED:
        return {"is_whole": True, "verdicts": [], "errors": [{"file": job.file, "error": job.error}], "notes": []}
    return None
