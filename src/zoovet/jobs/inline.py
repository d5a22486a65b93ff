"""Inline: jobs are done in this process, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from zoovet.jobs.runner import Do, Done, Lost, Tell, Work, no_others, tell_nobody

__all__ = ["Inline"]

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Inline:
    """Does jobs in this process.

    Attributes:
        num_threads: Threads that PyTorch uses meanwhile: one, as in all workers; ``None``: as many as before.
    """

    num_threads: int | None = 1

    @property
    def num_workers(self) -> int:
        """One."""
        return 1

    @contextmanager
    def crew(self, work: Work[Job, Result]) -> Iterator[_InlineCrew[Job, Result]]:
        """See :meth:`zoovet.jobs.Runner.crew`."""
        num_threads = torch.get_num_threads()
        torch.set_num_threads(self.num_threads or num_threads)
        try:
            yield _InlineCrew(work)
        finally:
            torch.set_num_threads(num_threads)


class _InlineCrew(Generic[Job, Result]):
    def __init__(self, work: Work[Job, Result]) -> None:
        self._work = work
        self._do: Do | None = None

    def outcomes(
        self,
        jobs: Iterable[Job | None],
        *,
        tell: Tell = tell_nobody,
        instead: Callable[[Job, int], Sequence[Job]] = no_others,
    ) -> Iterator[Done[Job, Result] | Lost[Job]]:
        for job in jobs:
            if job is not None:
                if self._do is None:
                    self._do = self._work.start()
                result: Any = self._do(job, tell)
                yield Done(job, result)
