"""JobProcess: one task in a process of its own, limited in memory and time, which a cancel kills with all it started.

Processes are forked from one that has imported what they need and has touched no stranger's file, so that a task
begins at once. They answer in JSON; nothing that a process says is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from typing import Any

from zoovet.printable import printable
from zoovet.processes import end_with_parent
from zoovet.serve.jobs import Order, Task

__all__ = ["Outcome", "TaskLimits", "prepare_processes", "run_task"]

_PRELOADED = "zoovet.serve.vetting"
_MAX_MESSAGE = 2**22
_POLL_SECONDS = 0.1
_MAX_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class TaskLimits:
    """What a task may take.

    Attributes:
        seconds: In all.
        memory_bytes: Of memory.
        num_threads: That compute.
    """

    seconds: int
    memory_bytes: int
    num_threads: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended.

    Attributes:
        found: What it found, plain JSON values; ``None`` where it came to no end.
        error: Why; empty where it did, and where it was cancelled.
    """

    found: dict[str, Any] | None
    error: str = ""


def prepare_processes() -> None:
    """Start the process that tasks are forked from, which then imports what they need; it ends with this one."""
    get_context("forkserver").set_forkserver_preload([_PRELOADED])
    forkserver.ensure_running()


def run_task(
    task: Task,
    order: Order,
    folder: str,
    limits: TaskLimits,
    *,
    tell: Callable[[str], None],
    cancelled: threading.Event,
) -> Outcome:
    """Run a task in a process of its own, to its end.

    Args:
        task: What is done.
        order: With what.
        folder: That of the uploads, where the process works.
        limits: What it may take.
        tell: Told what is being done.
        cancelled: Ends it when set.
    """
    context = get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, task, order, folder, limits), daemon=True)
    try:
        process.start()
    except (OSError, EOFError) as error:
        return Outcome(found=None, error=f"no process could be started for it: {printable(error)}")
    finally:
        theirs.close()
    try:
        outcome = _followed(ours, limits, tell, cancelled)
    finally:
        ours.close()
        _end(process.pid)
        process.join()
    if outcome is not None:
        return outcome
    code = process.exitcode or 0
    why = f"it was killed by signal {-code}, maybe for want of memory" if code < 0 else f"it left with status {code}"
    return Outcome(found=None, error=f"the process that did it ended without an answer: {why}")


def _followed(
    messages: Connection, limits: TaskLimits, tell: Callable[[str], None], cancelled: threading.Event
) -> Outcome | None:
    """The outcome that a process tells, or that befalls it; ``None`` where it ended without a word."""
    deadline = time.monotonic() + limits.seconds
    while not cancelled.is_set():
        if time.monotonic() > deadline:
            return Outcome(found=None, error=f"it took longer than the {limits.seconds:,} s that a job may take")
        if not messages.poll(_POLL_SECONDS):
            continue
        try:
            message = json.loads(messages.recv_bytes(_MAX_MESSAGE))
        except (EOFError, OSError, ValueError):
            return None
        if "doing" in message:
            tell(printable(message["doing"]))
        else:
            return Outcome(found=message.get("found"), error=message.get("error", ""))
    return Outcome(found=None)


def _end(pid: int | None) -> None:
    """Kill a process and what it started."""
    if pid is None:
        return
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _work(messages: Connection, task: Task, order: Order, folder: str, limits: TaskLimits) -> None:
    """What the process does."""
    os.setsid()
    end_with_parent(os.getppid())
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(limits.memory_bytes)

    import torch

    from zoovet.serve import vetting
    from zoovet.vet import failure_of

    torch.set_flush_denormal(True)
    torch.set_num_threads(limits.num_threads)

    def say(**message: Any) -> None:
        messages.send_bytes(json.dumps(message).encode())

    try:
        found = (vetting.scan if task == Task.SCAN else vetting.heal)(order, lambda doing: say(doing=doing))
        say(found=found)
    except Exception as error:  # whatever a stranger's file leads to, it is this job's alone
        say(error=printable(failure_of(error, order.file).message, _MAX_CHARACTERS))


def _limit_memory(memory_bytes: int) -> None:
    """Have the system refuse a process more memory; macOS counts what is shared too, so there it is not asked to."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
