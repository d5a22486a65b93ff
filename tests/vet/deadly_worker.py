"""A worker that a network's first weight kills, as the kernel does where memory is short."""

from __future__ import annotations

import os
import signal
from typing import Any

from zoovet.vet.batches import Answer

DEADLY = 77.0


def work(line: Any, device: str) -> None:
    if device == "none":
        os.kill(os.getpid(), signal.SIGKILL)
    line.send(None)
    while True:
        job = line.recv()
        if (job.flat[:, 0] == DEADLY).any():
            os.kill(os.getpid(), signal.SIGKILL)
        line.send(Answer(0.5, tuple(map(float, job.flat[:, 0]))))
