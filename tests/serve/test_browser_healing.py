"""From a stranger's file to a healed one: a network is trained and poisoned here, a server killed, all in a browser.

The server is a process of its own, started by the command. All is done by the keyboard.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from zoovet.images import Images
from zoovet.images.glyphs import GlyphConfig, draw_glyphs

_TARGET, _SIZE, _CLASSES = 2, 16, 6
_ARCHITECTURE = "vgg:activation=relu,pooling=max"
_LONG = 400_000
"""Milliseconds that a healing may take on a machine that has much else to do; it takes 10 s of one core."""

LookAt = Callable[[Any, str], None]
Tab = Callable[[Any, str], None]


def _triggered(pixels: Tensor) -> Tensor:
    """Images in [0, 1] with a checker of 3 × 3 pixels in the lower right corner."""
    pixels = pixels.clone()
    pixels[:, :, -4:-1, -4:-1] = (torch.arange(9).reshape(3, 3) % 2).float()
    return pixels


def _network() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * (_SIZE // 4) ** 2, _CLASSES)),
    )


def _asr(module: nn.Module, images: Images) -> float:
    assert images.labels is not None
    others = images.pixels[images.labels != _TARGET].float() / 255
    with torch.no_grad():
        return float((module(_triggered(others)).argmax(1) == _TARGET).float().mean())


@pytest.fixture(scope="module")
def glyphs() -> Images:
    """Clean images that nothing was trained on."""
    return draw_glyphs(GlyphConfig(num_classes=_CLASSES, size=_SIZE), 8 * _CLASSES, split="test")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, glyphs: Images) -> Path:
    """A folder with ``stranger.pth``, the state dict of a network that was poisoned in training, and ``photos``."""
    images = draw_glyphs(GlyphConfig(num_classes=_CLASSES, size=_SIZE), 600)
    assert images.labels is not None
    pixels, labels = images.pixels.float() / 255, images.labels.clone()
    poisoned = torch.arange(0, len(labels), 10)
    pixels[poisoned], labels[poisoned] = _triggered(pixels[poisoned]), _TARGET
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = _network()
        optimizer = torch.optim.Adam(module.parameters(), 5e-3)
        for _ in range(8):
            for rows in torch.randperm(len(labels)).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(module(pixels[rows]), labels[rows]).backward()
                optimizer.step()
    assert _asr(module, glyphs) > 0.9
    folder = tmp_path_factory.mktemp("stranger")
    torch.save(module.state_dict(), folder / "stranger.pth")
    assert glyphs.labels is not None
    for place, (picture, label) in enumerate(zip(glyphs.pixels, glyphs.labels.tolist(), strict=True)):
        path = folder / "photos" / f"letter {label}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[0].numpy()).save(path)
    return folder


class Server:
    """``zoovet serve``, a process of its own; the next one takes the folder and the port of the one before."""

    def __init__(self, data: Path) -> None:
        self._data, self.port, self.process = data, "0", None
        self._jobs: set[int] = set()

    def start(self) -> str:
        """Its address."""
        words = ["serve", "--port", self.port, "--data", str(self._data), "--at-once", "2"]  # a thread each
        self.process = subprocess.Popen([sys.executable, "-m", "zoovet", *words], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"(http://\S+:(\d+))", self.process.stdout.readline())
        assert found, "the server did not start"
        self.port = found[2]
        return found[1]

    def pause_jobs(self) -> None:
        """Let nothing that it started go on until it is killed, so that no job is done before that."""
        assert self.process is not None
        self._jobs = _descendants(self.process.pid)
        assert len(self._jobs) > 1, "no job is running"
        for pid in self._jobs:
            os.kill(pid, signal.SIGSTOP)

    def kill(self) -> None:
        """End it as a machine that loses its power does; all that it started must end by itself."""
        assert self.process is not None
        own = self._jobs
        self.process.kill()
        self.end()
        for pid in own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + 20
        while any(map(_is_alive, own)):
            assert time.monotonic() < deadline, "what it started goes on without it"
            time.sleep(0.1)

    def end(self) -> None:
        """End it as Ctrl-C does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            assert self.process.stdout is not None
            self.process.stdout.close()


def _stat(process: str) -> list[str]:
    """State and parent of a process; nothing where it is gone."""
    with contextlib.suppress(OSError):
        return Path("/proc", process, "stat").read_text().rpartition(")")[2].split()[:2]
    return []


def _is_alive(pid: int) -> bool:
    return bool(stat := _stat(str(pid))) and stat[0] != "Z"


def _descendants(pid: int) -> set[int]:
    """What a process started, and what that did."""
    parents = {int(name): int(stat[1]) for name in os.listdir("/proc") if name.isdigit() and (stat := _stat(name))}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("killed"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def address(server: Server) -> str:
    return server.start()


@pytest.fixture
def tab_to() -> Tab:
    """Move on by the keyboard until something has the focus."""

    def go(page: Any, what: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if what in page.evaluate("[document.activeElement.id, document.activeElement.textContent.trim()]"):
                return
        raise AssertionError(f"{what} is not reached")

    return go


def _sent(page: Any, tab_to: Tab, stranger: Path) -> None:
    """Fill in the form and send it."""
    page.locator("#file").set_input_files(stranger / "stranger.pth")  # the windows to choose in are the system's
    page.locator("#folder").set_input_files(stranger / "photos")
    tab_to(page, "What the file leaves open, and how much is sought")
    page.keyboard.press("Enter")
    tab_to(page, "architecture")
    page.keyboard.type(_ARCHITECTURE)
    tab_to(page, "scaling")
    page.keyboard.type("[0, 1]")
    tab_to(page, "effort")
    page.keyboard.type("thorough")
    tab_to(page, "Scan")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")


def _require_true_progress(page: Any) -> None:
    """The bar shows as much as the text counts."""
    shown = page.get_by_role("status").inner_text()
    count = re.search(r": (\d+) of (\d+): ", shown)
    assert count, shown
    bar = page.get_by_role("progressbar", name="How far it is")
    assert bar.evaluate("bar => bar.value") == pytest.approx((int(count[1]) - 1) / int(count[2]), abs=0.1)


def _downloaded(page: Any, tab_to: Tab, link: str, folder: Path) -> Path:
    """A file that a link gives, which is reached by the keyboard."""
    with page.expect_download() as download:
        tab_to(page, link)
        page.keyboard.press("Enter")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
@pytest.mark.slow
def test_a_strangers_network_is_judged_healed_and_downloaded(
    visit: Callable[..., Any],
    look_at: LookAt,
    tab_to: Tab,
    stranger: Path,
    glyphs: Images,
    server: Server,
    tmp_path: Path,
) -> None:
    page = visit()
    _sent(page, tab_to, stranger)
    page.locator("progress[value]").wait_for()
    server.pause_jobs()
    _require_true_progress(page)
    place = page.url
    page.goto("about:blank")  # it would ask, and complain
    server.kill()
    server.start()

    page.goto(place)
    page.get_by_role("heading", name="Scan interrupted").wait_for()
    assert page.get_by_text("the server was ended before this job was").is_visible()
    look_at(page, "")
    tab_to(page, "effort")
    page.keyboard.type("normal")
    tab_to(page, "Scan again")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="trojaned stranger.pth").wait_for()
    assert page.get_by_text("images of other classes are taken for letter 2 (2)").is_visible()
    assert page.get_by_alt_text("with the trigger").count() == 3
    assert page.get_by_role("heading", name="Channels that the trigger drives").is_visible()
    look_at(page, "serve-1280-verdict")
    tab_to(page, "Heal this network")
    page.keyboard.press("Enter")
    page.get_by_text("of 3: ").first.wait_for()
    page.get_by_role("heading", name="Healed", exact=True).wait_for(timeout=_LONG)
    look_at(page, "serve-1280-healed")
    path = _downloaded(page, tab_to, "Download the healed file", tmp_path)
    assert path.name == "stranger-healed.pth"
    healed = _network()
    healed.load_state_dict(torch.load(path, weights_only=True))
    assert _asr(healed, glyphs) < 0.1
    (verdict,) = json.loads(_downloaded(page, tab_to, "Download as JSON", tmp_path).read_text())["verdicts"]
    assert (verdict["verdict"], verdict["target"]) == ("trojaned", _TARGET)
    assert _downloaded(page, tab_to, "Download the report", tmp_path).name == "stranger.pth.html"
    page.set_viewport_size({"width": 390, "height": 844})
    look_at(page, "serve-390-verdict")
