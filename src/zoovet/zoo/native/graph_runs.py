"""In which run over a batch's images each operation is done. A run ends where norms need all images' statistics.

Branches beside each other share their runs, so that what they read is read while it lies in the cache, and their norms
share a barrier. Backward mirrors forward: run r of R forward has its way back in run R - r.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from zoovet.networks import INPUT, Graph
from zoovet.zoo.native.graph_steps import Barrier, Step

__all__ = ["OperationRun", "RunSteps", "operation_runs"]


@dataclass(frozen=True)
class OperationRun:
    """Runs forward, from 0, of one operation.

    Attributes:
        reads: Where it reads its inputs; a batch norm adds to its statistics there.
        makes: Where its values are made: the same run but for a batch norm, which makes them in a later one.
    """

    reads: int
    makes: int


def operation_runs(graph: Graph, names: Sequence[str], fused: Mapping[str, str]) -> dict[str, OperationRun]:
    """Site → the runs of the operation that makes it: as early as can be, but a norm's values when they are first read.

    Args:
        graph: What is compiled.
        names: Sites that are needed, in the graph's order.
        fused: Norm → the activation that is one step with it.
    """
    runs: dict[str, OperationRun] = {INPUT: OperationRun(0, 0)}
    readers: dict[str, list[str]] = {}
    for name in names:
        operation = graph.makers[name]
        reads = max(runs[source].makes for source in operation.inputs)
        runs[name] = OperationRun(reads, reads + (operation.op == "batch_norm"))
        for source in operation.inputs:
            readers.setdefault(source, []).append(name)
    for name in names:
        made = fused.get(name, name)
        if graph.makers[name].op == "batch_norm" and made in readers:
            first = min(runs[reader].reads for reader in readers[made])
            runs[name] = replace(runs[name], makes=first)
            runs[made] = replace(runs[made], makes=first)
    return runs


class RunSteps:
    """Collects steps run by run, and what stands at the barriers between them.

    Args:
        num_runs: How many runs there are.
    """

    def __init__(self, num_runs: int) -> None:
        self._runs: list[list[Step]] = [[] for _ in range(num_runs)]
        self._last: list[list[Step]] = [[] for _ in range(num_runs)]
        self._barriers: list[list[str]] = [[] for _ in range(num_runs)]

    def add(self, run: int, step: Step, *, at_end: bool = False) -> None:
        """One step more of a run; or one that comes when all others of it are done."""
        (self._last if at_end else self._runs)[run].append(step)

    def end(self, run: int, barrier: Barrier) -> None:
        """What is done once after a run."""
        self._barriers[run].append(barrier.text)

    def in_order(self) -> list[Step | Barrier]:
        """All of them; one barrier between a run and the next."""
        steps: list[Step | Barrier] = []
        for number, (run, last, barriers) in enumerate(zip(self._runs, self._last, self._barriers, strict=True)):
            steps += [Barrier(" ".join(self._barriers[number - 1]))] if number else []
            steps += [*run, *last]
            assert bool(barriers) == (number + 1 < len(self._runs)), "a run ends where norms need it, and only there"
        return steps
