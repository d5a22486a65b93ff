"""Work for the tests of runners; a module of its own, since workers import what they do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError


@dataclass(frozen=True)
class Squares:
    """Squares; 13 is refused, 14 is a defect, 66 ends its process, 77 does so the first time, 99 takes its time."""

    folder: Path

    def start(self) -> Callable[[int, Callable[[Any], None]], int]:
        return self._square

    def _square(self, job: int, tell: Callable[[Any], None]) -> int:
        tell(("at", job))
        if job == 13:
            raise ZoovetError("13 is refused")
        if job == 14:
            raise Unpicklable(lambda: None)
        trace = self.folder / str(job)
        if job == 66 or (job == 77 and not trace.exists()):
            trace.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if job == 99:
            trace.write_text(str(os.getpid()))
            time.sleep(60)
        return job * job


class Unpicklable(Exception):
    """An error that no line takes."""


@dataclass(frozen=True)
class Stillborn:
    """Work that ends each process before it can do anything."""

    def start(self) -> Callable[[int, Callable[[Any], None]], int]:
        os._exit(7)


@dataclass(frozen=True)
class Refusing:
    """Work that cannot be begun."""

    def start(self) -> Callable[[int, Callable[[Any], None]], int]:
        raise ZoovetError("no images")
