"""Tasks in processes of their own: their answers, their limits, and that a cancel ends them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoovet.serve.job_process import Outcome, TaskLimits, prepare_processes, run_task
from zoovet.serve.jobs import JobOptions, Order, Task

Run = Callable[..., Outcome]


@pytest.fixture(scope="module", autouse=True)
def prepared() -> None:
    """The process that all tasks are forked from; it is ended with the tests'."""
    prepare_processes()


@pytest.fixture
def run(tmp_path: Path, stamped_files: Path) -> Run:
    def go(file: str = "stamped.pt", cancelled: threading.Event | None = None, **limits: int) -> Outcome:
        order = Order(
            file=file,
            images="photos",
            options=JobOptions(architecture="mlp:activation=relu", effort="thorough"),
            results=tmp_path,
            max_image_files=100,
            max_unpacked_bytes=2**20,
        )
        told: list[str] = []
        task = TaskLimits(**{"seconds": 60, "memory_bytes": 8 * 2**30, "num_threads": 1} | limits)
        event = cancelled or threading.Event()

        def tell(doing: str) -> None:
            told.append(doing)
            if cancelled is not None:
                cancelled.set()

        return run_task(Task.SCAN, order, str(stamped_files), task, tell=tell, cancelled=event)

    return go


def children() -> set[int]:
    """Processes of this user that work for this one's tasks: their working folder is an upload's."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found |= {int(entry.name)} if "stamped" in os.readlink(entry / "cwd") else set()
            except OSError:
                continue
    return found


def test_a_task_answers_from_its_own_process(run: Run) -> None:
    outcome = run("nothing.pt")
    assert outcome.error == ""
    assert outcome.found is not None
    assert "nothing.pt" in outcome.found["error"]


def test_a_cancelled_task_ends_at_once_with_its_process(run: Run) -> None:
    start = time.monotonic()
    assert run(cancelled=threading.Event()) == Outcome(found=None)
    assert time.monotonic() - start < 30
    assert children() == set()


def test_a_task_that_takes_too_long_is_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(seconds=0) == Outcome(found=None, error="it took longer than the 0 s that a job may take")
    assert children() == set()


def test_a_task_that_takes_too_much_memory_fails_alone(run: Run) -> None:
    outcome = run(memory_bytes=2**20)
    error = outcome.error or (outcome.found or {}).get("error", "")
    assert error
    assert "memory" in error or "ended without an answer" in error


def test_the_task_says_what_it_does(run: Run, tmp_path: Path, stamped_files: Path) -> None:
    told: list[str] = []
    order: Any = Order(
        file="nothing.pt",
        images="",
        options=JobOptions(),
        results=tmp_path,
        max_image_files=1,
        max_unpacked_bytes=1,
    )
    limits = TaskLimits(seconds=60, memory_bytes=2**33, num_threads=1)
    run_task(Task.HEAL, order, str(stamped_files), limits, tell=told.append, cancelled=threading.Event())
    assert told == ["the network is healed"]
