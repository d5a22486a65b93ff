"""Access: who may ask a server for anything, and what browsers may do with its pages."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zoovet.errors import ZoovetError

__all__ = ["COOKIE_NAME", "LOOPBACK_NAMES", "Access", "Guard"]

COOKIE_NAME = "zoovet-session"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_MIN_TOKEN = 16
_OPEN_PATHS, _OPEN_FOLDER = ("/login", "/health"), "/static/"
_SAFE_METHODS = ("GET", "HEAD")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask.

    Attributes:
        token: What every request must bring, as ``Authorization: Bearer TOKEN``, or by the cookie that the login gives
            for it; ``None`` lets every program of this machine ask.
        hosts: Names that the server is called by, each without its port; ``None`` for any, where there is a token.

    Raises:
        ZoovetError: The token is too short to keep anybody out, or anybody may ask under any name.
    """

    token: str | None = None
    hosts: tuple[str, ...] | None = LOOPBACK_NAMES

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < _MIN_TOKEN or not self.token.isascii()):
            raise ZoovetError(f"a token must have at least {_MIN_TOKEN} characters, all of them ASCII")
        if self.token is None and self.hosts is None:
            raise ZoovetError("a server that others can reach needs a token")

    @property
    def session(self) -> str:
        """What the cookie holds: it follows from the token, and not the other way round."""
        return hmac.new((self.token or "").encode(), b"zoovet session", hashlib.sha256).hexdigest()

    def takes(self, token: str) -> bool:
        """Whether this is the token."""
        return self.token is not None and hmac.compare_digest(self.token.encode(), token.encode())


class Guard:
    """Lets requests through to an application, or answers them itself.

    A page of another site cannot ask: not by a form (``Origin``), not by a name of its own that leads here (``Host``).

    Args:
        app: What it guards.
        access: Who may ask.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise ZoovetError(f"this server takes no {scope['type']}")
        refusal = self._refusal(scope)
        answer: Callable[..., Any] = self._app if refusal is None else refusal
        await answer(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        """What to answer instead of the application."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._access.hosts is not None and _without_port(host) not in self._access.hosts:
            return JSONResponse({"error": "this server is not called by that name"}, 421)
        if scope["method"] not in _SAFE_METHODS and not _is_of_own_page(headers, host):
            return JSONResponse({"error": "this was asked for by a page of another site"}, 403)
        if self._access.token is None or _is_open(scope["path"]) or self._is_known(scope, headers):
            return None
        if scope["method"] in _SAFE_METHODS and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        return JSONResponse(
            {"error": "give the token that the server printed: Authorization: Bearer TOKEN"},
            401,
            {"WWW-Authenticate": "Bearer"},
        )

    def _is_known(self, scope: Scope, headers: Headers) -> bool:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._access.takes(token.strip()):
            return True
        cookie = HTTPConnection(scope).cookies.get(COOKIE_NAME, "")
        return hmac.compare_digest(self._access.session.encode(), cookie.encode())


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER)


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


def _is_of_own_page(headers: Headers, host: str) -> bool:
    """Whether a request that changes something comes from a page of this server, or from no browser."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _with_headers(send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return told
