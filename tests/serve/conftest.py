"""What the tests of the server share: a queue whose tasks are played by functions, clients, forms, a network."""

from __future__ import annotations

import io
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
