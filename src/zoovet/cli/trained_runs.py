"""What ``zoovet train`` left in a folder: which kind of run it is, and on which zoo it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError, nearest
from zoovet.json_files import read_json_object, typed_value

__all__ = ["COMPARED_KINDS", "KINDS", "RunsByKind", "TrainedRun", "by_kind"]

COMPARED_KINDS = ("classifier", "inr_editor", "accuracy_predictor")
"""Kinds of which several runs can be evaluated at once, one beside the other."""

KINDS = ("detector", "repairer", *COMPARED_KINDS)
"""Kinds of runs that can be evaluated."""


@dataclass(frozen=True)
class TrainedRun:
    """A training run.

    Attributes:
        folder: Where it is.
        kind: ``detector``, ``repairer``, ``classifier``, ``inr_editor`` or ``accuracy_predictor``.
        finished: Whether its training has ended.
        zoo: Where the zoo was.
        train_fingerprint: Of the networks that it was trained on.
        seconds: Wall time of its training; ``None`` before it has ended.
        facts: Everything that ``run.json`` says.
    """

    folder: Path
    kind: str
    finished: bool
    zoo: Path
    train_fingerprint: str
    seconds: float | None = None
    facts: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, folder: Path) -> TrainedRun:
        """Read ``run.json``.

        Raises:
            ZoovetError: It is missing or damaged.
        """
        path = folder / "run.json"
        data = read_json_object(
            path, missing=f"{folder} is no training run: it has no run.json; give a folder of `zoovet train`"
        )
        where = f"{path} is damaged"
        zoo = typed_value(data, "zoo", dict, where)
        return cls(
            folder,
            typed_value(data, "kind", str, where),
            typed_value(data, "finished", bool, where),
            Path(typed_value(zoo, "path", str, where)),
            typed_value(zoo, "train_fingerprint", str, where),
            None if data.get("seconds") is None else float(typed_value(data, "seconds", float, where)),
            data,
        )


RunsByKind = dict[str, list[TrainedRun]]


def by_kind(runs: Sequence[TrainedRun]) -> RunsByKind:
    """The runs by their kind.

    Raises:
        ZoovetError: A kind is unknown, or two are of one kind of which only one can be evaluated at a time.
    """
    sorted_runs: RunsByKind = {}
    for run in runs:
        if run.kind not in KINDS:
            raise ZoovetError(f"{run.folder} is a run of the unknown kind {run.kind!r}{nearest(run.kind, KINDS)}")
        if run.kind in sorted_runs and run.kind not in COMPARED_KINDS:
            raise ZoovetError(
                f"{sorted_runs[run.kind][0].folder} and {run.folder} are both {run.kind}s; evaluate one at a time, "
                "each with its own --out"
            )
        sorted_runs.setdefault(run.kind, []).append(run)
    return sorted_runs
