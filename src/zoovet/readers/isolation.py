"""Reading a file from a stranger in a process of its own, which is limited in memory and time and may do nothing else.

A small process is started when it is first needed and waits. For every file it forks a child, which gets the open
file, not its path, and may then only read it, compute, and write its answer into a pipe (:mod:`.sandbox`). The answer
is JSON: what the file holds and where in it the numbers lie.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.readers.reading_server import LENGTH, OUTCOME, REQUEST, TIMED_OUT

__all__ = ["Answer", "Limits", "describe_file"]

_START = """
import sys
sys.path += sys.argv[3:]
from zoovet.readers.reading_server import main
main(int(sys.argv[1]), sys.argv[2])
"""
_PIECE = 2**20
_PYTHON = os.path.abspath(sys.executable) if sys.executable else ""
"""This program, wherever the working folder is later: a relative PATH leaves a relative one."""
_EXTRAS = {"h5py": ("Keras", "keras")}
"""Library → what files need it, and the extra of zoovet that installs it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What reading one file may take.

    Attributes:
        memory_bytes: Of memory, besides what the process has anyway.
        cpu_seconds: Of computing.
        seconds: In all, on a machine that has other work.
        answer_bytes: Of the answer.
    """

    memory_bytes: int
    cpu_seconds: int
    seconds: float
    answer_bytes: int

    @classmethod
    def of(cls, file_bytes: int) -> Limits:
        """Limits for a file of a size: a few times its size of memory, from 256 MB to 2.25 GB; seconds by the GB."""
        cpu_seconds = 8 + min(file_bytes // 2**21, 30) + file_bytes // 2**27
        return cls(
            memory_bytes=min(2**28 + 8 * file_bytes, 2**31 + 2**28),
            cpu_seconds=cpu_seconds,
            seconds=10.0 + 3 * cpu_seconds,
            answer_bytes=2**28 + 2 * file_bytes,
        )


@dataclass(frozen=True)
class Answer:
    """What the process says of a file.

    Attributes:
        description: JSON.
        blob: Bytes that it refers to.
    """

    description: dict[str, Any]
    blob: memoryview


def describe_file(descriptor: int, file_bytes: int, source: str, limits: Limits | None = None) -> Answer:
    """What an open file holds, found out in a process of its own.

    Args:
        descriptor: The file, open for reading.
        file_bytes: Its size.
        source: Its name as it is shown, for messages.
        limits: What it may take; by default what its size warrants.

    Raises:
        ZoovetError: The file is refused; the message says what it is. Or no process can be started.
    """
    limits = limits or Limits.of(file_bytes)
    answer = _answer(_reader(os.getpid(), ""), descriptor, file_bytes, source, limits)
    library = answer.description.get("library")
    if library not in _EXTRAS:
        return answer
    format_name, extra = _EXTRAS[library]
    if importlib.util.find_spec(library) is None:
        raise ZoovetError(f"{source}: reading {format_name} files needs {library}: pip install 'zoovet[{extra}]'")
    return _answer(_reader(os.getpid(), library), descriptor, file_bytes, source, limits)


def _answer(reader: _ReadingProcess, descriptor: int, file_bytes: int, source: str, limits: Limits) -> Answer:
    raw, outcome = reader.ask(descriptor, file_bytes, limits)
    kind, ended_by = outcome
    if kind == TIMED_OUT or ended_by == signal.SIGXCPU:
        seconds = limits.seconds if kind == TIMED_OUT else limits.cpu_seconds
        raise ZoovetError(
            f"{source} takes more than {seconds:g} s to read: it is damaged, or made to keep its readers busy"
        )
    description = _parsed(raw)
    if description.get("memory") or (ended_by and not raw):
        what = f"more than {limits.memory_bytes >> 20} MB of memory"
        raise ZoovetError(f"{source} takes {what} to read: it is damaged, or made to break its readers")
    if "refusal" in description:
        raise ZoovetError(f"{source} {description['refusal']}")
    start = LENGTH.size + LENGTH.unpack_from(raw)[0]
    return Answer(description, memoryview(raw)[start:])


def _parsed(raw: bytearray) -> dict[str, Any]:
    """The answer's JSON; of one that is cut off, a refusal."""
    broken = {"memory": True}
    if len(raw) < LENGTH.size:
        return broken
    end = LENGTH.size + LENGTH.unpack_from(raw)[0]
    if end > len(raw):
        return broken
    try:
        description = json.loads(raw[LENGTH.size : end])
    except (ValueError, RecursionError):
        return broken
    return description if isinstance(description, dict) else broken


@cache
def _reader(process: int, library: str) -> _ReadingProcess:
    """A process's one reading process with a library; one that was forked from it has a number, and so its own."""
    return _ReadingProcess(process, library)


@dataclass
class _ReadingProcess:
    """Started when first asked, started anew after it ended, killed when the asker is interrupted."""

    owner: int
    library: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    child: subprocess.Popen[bytes] | None = None
    control: socket.socket | None = None

    def ask(self, descriptor: int, file_bytes: int, limits: Limits) -> tuple[bytearray, tuple[int, int]]:
        """The answer for a file, and how the child ended that gave it."""
        with self.lock:
            try:
                try:
                    return self._exchange(descriptor, file_bytes, limits)
                except (BrokenPipeError, ConnectionError, EOFError):
                    self.stop()  # somebody ended it while it waited
                    return self._exchange(descriptor, file_bytes, limits)
            except (OSError, EOFError) as error:
                self.stop()
                raise ZoovetError(f"the process that reads weight files cannot be run ({error})") from error
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """End it and what it forked, at once."""
        control, child, self.control, self.child = self.control, self.child, None, None
        if control is not None:
            control.close()
        if child is not None and os.getpid() == self.owner:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _exchange(self, descriptor: int, file_bytes: int, limits: Limits) -> tuple[bytearray, tuple[int, int]]:
        control = self.control or self._start()
        result, result_end = os.pipe()
        try:
            try:
                message = REQUEST.pack(file_bytes, limits.memory_bytes, limits.cpu_seconds, limits.seconds)
                socket.send_fds(control, [message], [descriptor, result_end])
            finally:
                os.close(result_end)
            raw = bytearray()
            while piece := os.read(result, _PIECE):
                raw += piece
                if len(raw) > limits.answer_bytes:
                    raise EOFError("its answer is too long")
        finally:
            os.close(result)
        outcome = b""
        while len(outcome) < OUTCOME.size:
            piece = control.recv(OUTCOME.size - len(outcome))
            if not piece:
                raise EOFError("it ended without an answer")
            outcome += piece
        kind, ended_by = OUTCOME.unpack(outcome)
        return raw, (kind, ended_by)

    def _start(self) -> socket.socket:
        if not _PYTHON:
            raise OSError("this Python does not know its own program")
        ours, theirs = map(_above_standard, socket.socketpair())
        self.control = ours
        with theirs:
            folders = [str(Path(__file__).resolve().parents[2]), *_folders_of(self.library)]
            self.child = subprocess.Popen(
                [_PYTHON, "-I", "-S", "-c", _START, str(theirs.fileno()), self.library, *folders],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        atexit.unregister(self.stop)
        atexit.register(self.stop)
        return ours


def _folders_of(library: str) -> list[str]:
    """Where a library lies, and NumPy, which it needs."""
    found = [importlib.util.find_spec(name) for name in ((library, "numpy") if library else ())]
    return list(dict.fromkeys(str(Path(one.origin).parents[1]) for one in found if one is not None and one.origin))


def _above_standard(end: socket.socket) -> socket.socket:
    """The same end under a number that is not standard input's, output's or error's, where those are closed."""
    with end:
        return socket.socket(fileno=fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))
