"""Who is told to end says what is kept, as after Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from zoovet.cli import build
from zoovet.cli.main import main
from zoovet.cli.signals import ending_signals


def _sending(number: int, message: str = "") -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        try:
            os.kill(os.getpid(), number)
            for _ in range(2000):  # another thread may be the one that the signal reaches first
                time.sleep(0.01)
        except KeyboardInterrupt:
            os.kill(os.getpid(), number)  # impatience does not keep it from ending well
            raise KeyboardInterrupt(message) from None
        return 0

    return run


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGTERM, 143, "ended by SIGTERM"), (signal.SIGHUP, 129, "ended by SIGHUP")],
)
def test_a_signal_ends_as_ctrl_c_does(
    number: int, status: int, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(build, "run", _sending(number, "2 whole shards kept"))
    assert main(["build", "a.yaml", "--out", "z"]) == status
    assert capsys.readouterr().err == f"{word}: 2 whole shards kept\n"
    assert signal.getsignal(number) == before


def test_what_is_ignored_or_handled_already_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = (signal.SIG_IGN, lambda number, frame: None)
    for handler in handlers:
        before = signal.signal(signal.SIGHUP, handler)
        try:
            with ending_signals():
                assert signal.getsignal(signal.SIGHUP) is handler
                os.kill(os.getpid(), signal.SIGHUP)
        finally:
            signal.signal(signal.SIGHUP, before)


def test_another_thread_may_run_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(main(["--version"])))
    thread.start()
    thread.join()
    assert statuses == [0]
