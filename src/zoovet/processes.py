"""Which process on which machine: who writes a file or holds a folder, whether it still runs, and workers that end."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import signal
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ProcessName", "end_with_parent", "kernel_id", "num_usable_cores", "start_resource_tracker"]

_POLL_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class ProcessName:
    """A process's name, which no other ever has: a process number alone is given again.

    Attributes:
        machine: Which kernel since which start, and which space of process numbers; 12 hexadecimal digits.
        pid: Its number there.
        started: When it started, in the system's ticks; 0 where the system does not say.
    """

    machine: str
    pid: int
    started: int

    @classmethod
    def own(cls) -> ProcessName:
        """This process."""
        return cls(machine=_machine(), pid=os.getpid(), started=_started(os.getpid()) or 0)

    @classmethod
    def parse(cls, text: str) -> ProcessName | None:
        """What :meth:`__str__` gave, or ``None``."""
        parts = text.split("-")
        if len(parts) != 3 or not all(part.isascii() and part.isalnum() for part in parts):
            return None
        machine, pid, started = parts
        if not (pid.isdigit() and started.isdigit() and len(pid) < 12 and len(started) < 24):
            return None
        return cls(machine=machine, pid=int(pid), started=int(started))

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.started}"

    @property
    def is_here(self) -> bool:
        """Whether it is of this machine, so that one can see whether it runs."""
        return self.machine == _machine()

    @property
    def runs(self) -> bool:
        """Whether a process of this machine still runs; one that has ended and was not waited for does not."""
        return self.is_here and _started(self.pid) == self.started


@cache
def kernel_id() -> str:
    """This kernel since its start: the same in all its containers, another one after a restart."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


@cache
def _machine() -> str:
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return hashlib.sha256(f"{kernel_id()} {space}".encode()).hexdigest()[:12]


def _started(pid: int) -> int | None:
    """When a process of this machine started; 0 where the system does not say, ``None`` where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0


def num_usable_cores() -> int:
    """Cores that this process may use; all of the machine where the system does not say which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with_parent(parent: int) -> None:
    """End this worker process as soon as its parent has ended, however that ended.

    Args:
        parent: The parent's number, from the parent itself: it may have ended by now.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def start_resource_tracker() -> None:
    """Start the process by which Python tidies up after worker processes, so that SIGHUP does not end it.

    A terminal that closes sends SIGHUP to all processes of a command. Python keeps SIGINT and SIGTERM from this one
    alone; where it ends first, another takes its place as the workers end, and complains of each thing that it does not
    know. It ends with this process.
    """
    from multiprocessing import resource_tracker

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # which it hands down
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)
