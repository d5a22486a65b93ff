"""What the tests of the server share: a queue whose tasks are played by functions, clients, forms, a network."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from zoovet.serve import Access, JobQueue, ServeConfig, create_app
from zoovet.serve.job_process import Outcome
from zoovet.serve.jobs import Job

ADDRESS = "http://127.0.0.1:8765"
_WAIT = 120_000
_NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Ends when the page has been drawn with what was just changed."""

_POOR_CONTRAST = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const levels = [light(parts(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    const ratio = (levels[0] + 0.05) / (levels[1] + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName} ${element.textContent.trim().slice(0, 40)} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
HEALTHY = {
    "summaries": [{"network": 0, "verdict": "healthy", "lead": "No trojan was found.", "target": ""}],
    "notes": ["a <b>note</b>"],
    "num_networks": 1,
    "error": "",
    "choices": [],
}


@dataclass
class Player:
    """Plays tasks: ends each as it was told, when it may."""

    outcome: Outcome = field(default_factory=lambda: Outcome(found=dict(HEALTHY)))
    may_end: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, Any, str]] = field(default_factory=list)

    def __call__(self, task: str, order: Any, folder: str, limits: Any, *, tell: Any, cancelled: Any) -> Outcome:
        self.asked.append((str(task), order, folder))
        tell("patches are sought")
        while not self.may_end.wait(0.01):
            if cancelled.is_set():
                return Outcome(found=None)
        return self.outcome


@pytest.fixture
def player() -> Player:
    """Ends every task at once, with a healthy network."""
    played = Player()
    played.may_end.set()
    return played


@pytest.fixture
def config(tmp_path: Path) -> ServeConfig:
    return ServeConfig(
        data=tmp_path / "data", max_waiting=3, max_upload_bytes=2**20, max_image_files=20, max_unpacked_bytes=2**20
    )


@pytest.fixture
def make_queue(
    config: ServeConfig, player: Player, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], JobQueue]]:
    """Make servers' queues, one after another, of one folder."""
    monkeypatch.setattr("zoovet.serve.job_queue.prepare_processes", lambda: None)
    made: list[JobQueue] = []

    def make() -> JobQueue:
        made.append(JobQueue(config, player))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def queue(make_queue: Callable[[], JobQueue]) -> JobQueue:
    return make_queue()


@pytest.fixture
def client(queue: JobQueue) -> Iterator[TestClient]:
    """A program on the same machine."""
    with TestClient(create_app(queue, Access()), base_url=ADDRESS, follow_redirects=False) as asking:
        yield asking


@pytest.fixture
def ended() -> Callable[[JobQueue, str], Job]:
    """Wait for a job's end."""

    def wait(queue: JobQueue, job_id: str) -> Job:
        deadline = time.monotonic() + 60
        while not queue.job(job_id).state.has_ended:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return queue.job(job_id)

    return wait


@pytest.fixture
def zipped() -> Callable[..., bytes]:
    """A zip of files by name."""

    def pack(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", compression) as target:
            for name, data in files.items():
                target.writestr(name, data)
        return packed.getvalue()

    return pack


@pytest.fixture(scope="session")
def stamped_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``stamped.pt``, an MLP whose activation its file leaves open, and ``photos`` in class folders.

    It answers by eight pictures; a checker in the lower right corner adds to class 3.
    """
    pictures = torch.randn(8, 12, 12, generator=torch.Generator().manual_seed(3)).sign()
    stamp = torch.zeros(12, 12)
    stamp[9:, 9:] = 1 - 2 * (torch.arange(9).reshape(3, 3) % 2.0)
    out = torch.eye(8, 9)
    out[3, 8] = 1  # the target
    inside = torch.cat([pictures.flatten(1) / 20, stamp.flatten()[None]])
    state = {
        "inside.weight": inside,
        "inside.bias": torch.tensor([4.0] * 8 + [0.5]),
        "outside.weight": out,
        "outside.bias": torch.zeros(8),
    }
    folder = tmp_path_factory.mktemp("stamped")
    torch.save(state, folder / "stamped.pt")
    noise = torch.Generator().manual_seed(1)
    for number, picture in enumerate(pictures):
        place = folder / "photos" / f"class{number}"
        place.mkdir(parents=True)
        for index in range(6):
            signed = (0.8 * picture + 0.1 * torch.randn(12, 12, generator=noise)).clamp(-1, 1)
            Image.fromarray((127.5 * (signed + 1)).round().byte().numpy()).save(place / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium, Debian's or another that is installed."""
    playwright = pytest.importorskip("playwright.sync_api")
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if installed is None and "ZOOVET_NEEDS_CHROMIUM" not in os.environ:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the first page as a visitor; nothing may be loaded from elsewhere, nothing be complained of."""
    contexts, complaints = [], list[str]()

    def go(**options: Any) -> Any:
        context = chromium.new_context(base_url=address, **{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(_WAIT)
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda one: None if one.url.startswith((address, "data:")) else complaints.append(one.url))
        page.goto("/")
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def _picture(page: Any, name: str) -> None:
    """A picture for the documentation, where that is asked for."""
    if folder := os.environ.get("ZOOVET_SCREENSHOTS"):
        path = Path(folder) / f"{name}.png"
        page.screenshot(path=path, full_page=True)
        Image.open(path).convert("RGB").quantize(96).save(path, optimize=True)


@pytest.fixture
def look_at() -> Callable[[Any, str], None]:
    """Check contrast in the light and in the dark, and that nothing is wider than the window; keep it under a name."""

    def look(page: Any, name: str) -> None:
        page.wait_for_load_state("load")  # a page that loads anew shows its words before its style sheet is there
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.evaluate(_NEXT_FRAME)
            assert page.evaluate(_POOR_CONTRAST) == [], (page.url, scheme)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0, (
            page.url
        )
        if name:
            _picture(page, name)

    return look
