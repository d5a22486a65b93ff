"""A request becomes a job: its uploads lie in the job's folder, or nothing of it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from zoovet.errors import ZoovetError, nearest
from zoovet.printable import printable
from zoovet.serve.job_queue import JobQueue
from zoovet.serve.jobs import Job, JobOptions
from zoovet.serve.uploads import TooLarge, receive_form

__all__ = ["options_of", "received_fields", "received_job"]

_MAX_FIELDS_BYTES = 2**16


async def received_job(queue: JobQueue, request: Request, *, is_from_page: bool) -> Job:
    """Accept the job that a form asks for.

    Raises:
        QueueFull: As many jobs wait as may.
        TooLarge: More was sent than is taken.
        ZoovetError: It is no such form, or has no network.
    """
    config, folders = queue.config, queue.folders
    queue.require_room()
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > config.max_upload_bytes:
        raise TooLarge(f"more than the {config.max_upload_bytes >> 20:,} MB that are taken were sent")
    job_id = queue.reserve()
    try:
        form = await receive_form(
            request.stream(),
            request.headers.get("content-type", ""),
            folders.upload(job_id),
            max_bytes=config.max_upload_bytes,
            max_files=config.max_image_files + 2,
        )
        if not form.file:
            raise ZoovetError("choose a weight file: the form has no network")
        job = Job(
            job_id=job_id,
            file=form.file,
            images=form.images,
            options=options_of(form.fields),
            is_from_page=is_from_page,
        )
        return await run_in_threadpool(queue.submit, job)
    except BaseException:
        await run_in_threadpool(folders.delete, job_id)
        raise


async def received_fields(request: Request) -> dict[str, str]:
    """The fields of a form without files.

    Raises:
        ZoovetError: It is no such form.
    """
    content_type = request.headers.get("content-type", "")
    form = await receive_form(request.stream(), content_type, None, max_bytes=_MAX_FIELDS_BYTES, max_files=0)
    return form.fields


def options_of(given: Mapping[str, str]) -> JobOptions:
    """The options among a form's fields; what is empty is left out.

    Raises:
        ZoovetError: One is not as it has to be.
    """
    known = [one.name for one in fields(JobOptions)]
    for name in given:
        if name not in known:
            raise ZoovetError(f"the form's field {printable(repr(name), 60)} is unknown{nearest(name, known)}")
    stated: dict[str, Any] = {name: value.strip() for name, value in given.items() if value.strip()}
    return JobOptions(**stated)
