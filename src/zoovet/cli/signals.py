"""Being told to end: by a scheduler, a closed terminal, a service's stop, as by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from zoovet.cli.status import EXIT_INTERRUPTED

__all__ = ["EndingSignals", "ending_signals"]

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class EndingSignals:
    """Which signal asked this process to end, if any did."""

    def __init__(self) -> None:
        self._received: int | None = None

    @property
    def exit_status(self) -> int:
        """As shells count it: 128 and the signal's number; without a signal, that of Ctrl-C."""
        return EXIT_INTERRUPTED if self._received is None else 128 + self._received

    @property
    def word(self) -> str:
        """What happened, for people."""
        return "interrupted" if self._received is None else f"ended by {signal.Signals(self._received).name}"

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Raise a :class:`KeyboardInterrupt` in the main thread; the ending itself is not to be ended."""
        self._received = number
        for other in _SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt


@contextmanager
def ending_signals() -> Iterator[EndingSignals]:
    """While the block runs, SIGTERM and SIGHUP end it as Ctrl-C does: by a :class:`KeyboardInterrupt`.

    A signal that is ignored or handled already stays so: ``nohup`` is obeyed, and so is a program that calls zoovet.
    Outside the main thread nothing is changed.
    """
    ending, before = EndingSignals(), {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        before = {number: handler for number, handler in before.items() if handler is signal.SIG_DFL}
        for number in before:
            signal.signal(number, ending.receive)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
