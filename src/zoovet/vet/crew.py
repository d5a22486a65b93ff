"""Batches scored by workers: in other processes, or on a cluster. One that dies takes only what killed it with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from zoovet.jobs import Done, Runner, Tell, no_others
from zoovet.networks import Graph, Networks
from zoovet.vet.batches import Answer, Batch, Detectors, Part
from zoovet.vet.candidates import Candidate
from zoovet.vet.failures import Failure

__all__ = ["answers_of"]


def answers_of(batches: Iterable[Batch | None], runner: Runner, device: str) -> Iterator[tuple[Batch, Answer]]:
    """Each batch and what was said of it, in no order.

    A batch whose process dies (killed for memory, say) is tried again network by network, each in a process that lives;
    where that dies too, again and again, it is the network's failure.

    Args:
        batches: Taken one at a time, so that no more are there than are worked on and wait; ``None`` where the next is
            not there yet, so that workers are served meanwhile.
        runner: Where they are scored.
        device: Where each worker computes.
    """
    jobs = (None if batch is None else _Scoring(batch) for batch in batches)
    with runner.crew(_Scorers(device)) as crew:
        for outcome in crew.outcomes(jobs, instead=_instead):
            batch = outcome.job.batch
            if isinstance(outcome, Done):
                yield batch, outcome.result
            else:
                failure = Failure(f"it could not be scored: {outcome.cause}")
                yield batch, Answer(float("nan"), (failure,) * len(batch))


@dataclass(frozen=True)
class _Scoring:
    """A job: a batch. It goes as arrays, since a pickled view of a tensor is all that it is a view of."""

    batch: Batch

    def __reduce__(self) -> tuple[Any, ...]:
        networks = self.batch.networks
        return _received, (self.batch.candidate, networks.graph, networks.flat().numpy())


def _received(candidate: Candidate, graph: Graph, flat: Any) -> _Scoring:
    return _Scoring(Batch(candidate, (Part(0, 0, Networks.from_flat(graph, torch.from_numpy(flat))),)))


@dataclass(frozen=True)
class _Scorers:
    """What the workers have: detectors, opened when first asked for."""

    device: str

    def start(self) -> Callable[[_Scoring, Tell], Answer]:
        torch.set_flush_denormal(True)  # see zoovet.cli.main
        detectors = Detectors(self.device)
        return lambda job, _: detectors.answer(job.batch)


def _instead(job: _Scoring, num_deaths: int) -> list[_Scoring]:
    """A batch that ended its process is done network by network; one network once more."""
    if len(job.batch) == 1:
        return list(no_others(job, num_deaths))
    return [
        _Scoring(Batch(job.batch.candidate, (Part(part.place, part.start + index, network),)))
        for part in job.batch.parts
        for index, network in enumerate(part.networks)
    ]
