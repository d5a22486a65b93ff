"""The routes of the pages: what a person in a browser may ask for."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from zoovet.serve.access import COOKIE_NAME, Access
from zoovet.serve.job_queue import JobQueue, NoSuchJob
from zoovet.serve.pages import Pages, static_file
from zoovet.serve.receiving import options_of, received_fields, received_job
from zoovet.serve.results import REPORT_NAME, SCAN_NAME

__all__ = ["page_routes"]

_SESSION_SECONDS = 30 * 24 * 3600
_SEE_OTHER = 303


def page_routes(queue: JobQueue, pages: Pages, access: Access, schema: Callable[[], dict[str, Any]]) -> APIRouter:
    """All of them.

    Args:
        queue: The jobs.
        pages: What writes them as HTML.
        access: Who may ask.
        schema: The endpoint's OpenAPI schema.
    """
    routes = APIRouter(include_in_schema=False)
    _add_pages(routes, queue, pages, schema)
    _add_changes(routes, queue)
    _add_downloads(routes, queue)
    _add_login(routes, pages, access)
    return routes


def _add_pages(routes: APIRouter, queue: JobQueue, pages: Pages, schema: Callable[[], dict[str, Any]]) -> None:
    @routes.get("/", response_class=HTMLResponse)
    def index() -> str:
        return pages.index()

    @routes.get("/docs", response_class=HTMLResponse)
    def docs() -> str:
        return pages.api(schema())

    @routes.get("/jobs", response_class=JSONResponse)
    def states() -> list[dict[str, Any]]:
        return [pages.state(job) for job in queue.jobs()]

    @routes.get("/jobs/{job_id}", response_class=HTMLResponse)
    def job(job_id: str) -> str:
        return pages.job(queue.job(job_id))

    @routes.get("/jobs/{job_id}/state", response_class=JSONResponse)
    def state(job_id: str) -> dict[str, Any]:
        return pages.state(queue.job(job_id))

    @routes.get("/static/{name}")
    def static(name: str) -> Response:
        found = static_file(name)
        if found is None:
            raise NoSuchJob("there is no such file")
        return Response(found[0], media_type=found[1])


def _add_changes(routes: APIRouter, queue: JobQueue) -> None:
    @routes.post("/jobs")
    async def create(request: Request) -> Response:
        job = await received_job(queue, request, is_from_page=True)
        place = f"/jobs/{job.job_id}"
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(place, _SEE_OTHER)
        return JSONResponse({"place": place}, 201)

    @routes.post("/jobs/{job_id}/again")
    async def again(job_id: str, request: Request) -> Response:
        options = options_of(await received_fields(request))
        await run_in_threadpool(queue.again, job_id, options)
        return RedirectResponse(f"/jobs/{job_id}", _SEE_OTHER)

    @routes.post("/jobs/{job_id}/heal")
    def heal(job_id: str) -> Response:
        queue.heal(job_id)
        return RedirectResponse(f"/jobs/{job_id}", _SEE_OTHER)

    @routes.post("/jobs/{job_id}/cancel")
    def cancel(job_id: str) -> Response:
        queue.cancel(job_id)
        return RedirectResponse(f"/jobs/{job_id}", _SEE_OTHER)

    @routes.post("/jobs/{job_id}/delete")
    def delete(job_id: str) -> Response:
        queue.job(job_id)
        queue.delete(job_id)
        return RedirectResponse("/", _SEE_OTHER)


def _add_downloads(routes: APIRouter, queue: JobQueue) -> None:
    @routes.get("/jobs/{job_id}/scan.json")
    def scan_json(job_id: str) -> Response:
        return _download(_results(queue, job_id) / SCAN_NAME, "application/json")

    @routes.get("/jobs/{job_id}/healed")
    def healed(job_id: str) -> Response:
        job = queue.job(job_id)
        if not job.healed:
            raise NoSuchJob("there is no healed file of this job")
        return _download(_results(queue, job_id) / job.healed, "application/octet-stream")

    @routes.get("/jobs/{job_id}/report")
    def report(job_id: str) -> Response:
        folder = _results(queue, job_id) / REPORT_NAME
        pages = sorted(folder.glob("*.html")) if folder.is_dir() else []
        networks = [page for page in pages if page.name != "index.html"]
        if len(networks) == 1:
            return _download(networks[0], "text/html")
        if not networks:
            raise NoSuchJob("there is no report of this job")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
            for page in pages:
                target.write(page, page.name)
        headers = {"Content-Disposition": 'attachment; filename="report.zip"'}
        return Response(packed.getvalue(), media_type="application/zip", headers=headers)


def _add_login(routes: APIRouter, pages: Pages, access: Access) -> None:
    @routes.get("/login", response_class=HTMLResponse)
    def ask() -> Response:
        return RedirectResponse("/", _SEE_OTHER) if access.token is None else HTMLResponse(pages.login())

    @routes.post("/login")
    async def login(request: Request) -> Response:
        given = await received_fields(request)
        if not access.takes(given.get("token", "").strip()):
            return HTMLResponse(pages.login("That is not the token that the server printed."), 401)
        answer = RedirectResponse("/", _SEE_OTHER)
        answer.set_cookie(
            COOKIE_NAME,
            access.session,
            max_age=_SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer


def _results(queue: JobQueue, job_id: str) -> Path:
    return queue.folders.results(queue.job(job_id).job_id)


def _download(path: Path, media_type: str) -> Response:
    """A file to keep; a page of a report has its own style inside, so that it is never shown in this server's name."""
    if not path.is_file():
        raise NoSuchJob("there is no such file of this job")
    return FileResponse(path, media_type=media_type, filename=path.name)
