"""The application: pages for people, an endpoint for programs, one queue behind both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp

import zoovet
from zoovet.errors import ZoovetError
from zoovet.files import StorageError
from zoovet.serve.access import Access, Guard
from zoovet.serve.endpoint import endpoint
from zoovet.serve.job_queue import JobQueue, NoSuchJob, QueueFull
from zoovet.serve.page_routes import page_routes
from zoovet.serve.pages import Pages
from zoovet.serve.uploads import TooLarge

__all__ = ["create_app"]

_STATUSES: dict[type[ZoovetError], tuple[int, str]] = {
    QueueFull: (429, "Too many jobs"),
    NoSuchJob: (404, "Not there"),
    TooLarge: (413, "Too large"),
    StorageError: (507, "The disk takes no more"),
    ZoovetError: (400, "That did not work"),
}
_DESCRIPTION = """\
A network is sent, its verdict is asked for later: what `zoovet scan --json` prints. No code in a file is run, and what
was sent is deleted as soon as the verdict is there."""


def create_app(queue: JobQueue, access: Access) -> ASGIApp:
    """The application of a server.

    Args:
        queue: Its jobs; opened when the application starts, closed when it ends.
        access: Who may ask.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        queue.open()
        try:
            yield
        finally:
            queue.close()

    app = FastAPI(
        title="zoovet",
        version=zoovet.__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    pages = Pages(queue)
    app.include_router(endpoint(queue))
    app.include_router(page_routes(queue, pages, access, app.openapi))
    for kind, (status, title) in _STATUSES.items():
        app.add_exception_handler(kind, _told(pages, status, title))
    app.add_exception_handler(404, _told(pages, 404, "Not there", "There is no such page."))
    return Guard(app, access)


def _told(pages: Pages, status: int, title: str, text: str = "") -> Callable[[Request, Exception], Response]:
    """What is answered to a request that fails: a page to a browser, JSON to a program."""

    def answer(request: Request, error: Exception) -> Response:
        said = text or str(error)
        headers = {"Retry-After": "10"} if status == 429 else None
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(pages.message(title, said), status, headers)
        return JSONResponse({"error": said}, status, headers)

    return answer
