"""What a confined process cannot do, tried in one: each attempt must fail there and work outside."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zoovet.readers.sandbox import confine, filter_calls

ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in ("x86_64", "aarch64"), reason="the filter of calls is Linux's"
)


def attempts(folder: Path) -> dict[str, Callable[[], object]]:
    target = str(folder / "written")
    return {
        "write a file": lambda: os.close(os.open(target, os.O_WRONLY | os.O_CREAT)),
        "read another file": lambda: os.close(os.open(__file__, os.O_RDONLY)),
        "list a folder": lambda: os.listdir(folder),
        "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
        "open a socket of this machine": lambda: socket.socketpair()[0].close(),
        "fork": forked,
        "execute": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "signal a process": lambda: os.kill(os.getppid(), 0),
        "remove a file": lambda: os.unlink(folder / "there"),
        "rename a file": lambda: os.rename(folder / "there", folder / "elsewhere"),
        "link a file": lambda: os.symlink(target, folder / "link"),
        "trace a process": lambda: checked(ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0)),
    }


def checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "failed")


def forked() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def happens(attempt: Callable[[], object], before: Callable[[], object]) -> bool:
    """Whether an attempt succeeds in a process of its own."""
    child = os.fork()
    if child == 0:
        outcome = 2
        try:
            before()
            try:
                attempt()
                outcome = 1
            except OSError:
                outcome = 0
        finally:
            os._exit(outcome)
    status = os.waitpid(child, 0)[1]
    assert os.WIFEXITED(status)
    assert os.WEXITSTATUS(status) < 2
    return os.WEXITSTATUS(status) == 1


@ON_LINUX
@pytest.mark.parametrize("name", list(attempts(Path())))
def test_nothing_but_reading_is_possible(tmp_path: Path, name: str) -> None:
    ctypes.CDLL(None)
    (tmp_path / "there").touch()
    attempt = attempts(tmp_path)[name]
    assert not happens(attempt, filter_calls), "the filter of calls alone"
    assert not happens(attempt, lambda: confine(2**30, 10))
    assert happens(attempt, lambda: None), "it fails anyway, so this test shows nothing"


def test_limits_hold_without_the_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on other systems than Linux: no open files, no memory, no long files."""
    monkeypatch.setattr("zoovet.readers.sandbox.filter_calls", lambda: False)
    reader, writer = os.pipe()

    def write_much() -> None:
        assert resource.getrlimit(resource.RLIMIT_FSIZE) == (0, 0)
        os.open(tmp_path / "written", os.O_WRONLY | os.O_CREAT)

    assert not happens(write_much, lambda: confine(2**30, 10))
    assert happens(lambda: os.write(writer, b"answer"), lambda: confine(2**30, 10))
    assert os.read(reader, 10) == b"answer"
    os.close(reader)
    os.close(writer)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not limited by the system")
def test_memory_is_limited() -> None:
    def take() -> None:
        try:
            bytearray(2**28)
        except MemoryError as error:
            raise OSError from error

    assert not happens(take, lambda: confine(2**27, 10))
    assert happens(take, lambda: confine(2**29, 10))
