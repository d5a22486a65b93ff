"""A server that speaks as much of the hub's protocol as fetching needs, and serves plain files beside it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """Repositories, by name, of files, by name.

    Attributes:
        url: Where it listens.
        repositories: What there is.
        redirects: Addresses that lead elsewhere.
        asked: Methods and paths of what was asked, in turn.
        broken: Names of files whose content is not what the hub says.
        commit: That files come from.
        revisions: That lead to it.
    """

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    commit: str = COMMIT
    revisions: set[str] = field(default_factory=lambda: {"main", "v1", COMMIT})

    def described(self, name: str) -> dict[str, object]:
        files = [
            {
                "rfilename": file,
                "size": len(content),
                "blobId": "0" * 40,
                "lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130},
            }
            for file, content in self.repositories[name].items()
        ]
        return {"id": name, "modelId": name, "sha": COMMIT, "siblings": files, "tags": [], "downloads": 0}


def _answer(hub: Hub, path: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, content and headers for a path."""
    parts = path.strip("/").split("/")
    if path in hub.redirects:
        return 302, b"", {"Location": hub.redirects[path]}
    if parts[:2] == ["api", "models"]:
        name, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
        if name not in hub.repositories:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        if revision not in hub.revisions:
            return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
        return 200, json.dumps(hub.described(name)).encode(), {}
    name, file = "/".join(parts[:2]), "/".join(parts[4:])
    content = hub.repositories.get(name, {}).get(file)
    if parts[2:3] != ["resolve"] or content is None:
        return 404, b"", {"X-Error-Code": "EntryNotFound"}
    digest = hashlib.sha256(content).hexdigest()
    sent = content[::-1] if file in hub.broken else content
    return 200, sent, {"ETag": f'"{digest}"', "X-Repo-Commit": hub.commit}


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            status, content, headers = _answer(hub, path)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine, and an empty cache."""
    found = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):  # read from HF_ENDPOINT when the library is imported
        own = getattr(constants, name)
        monkeypatch.setattr(constants, name, own.replace(constants._HF_DEFAULT_ENDPOINT, found.url))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write empty files of these names; returns their folder."""

    def written(*names: str) -> Path:
        for name in names:
            (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "folder" / name).write_bytes(b"")
        return tmp_path / "folder"

    return written
