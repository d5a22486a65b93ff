"""What ``zoovet train`` left in a folder: which kind of run it is, and on which zoo it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError, nearest
from zoovet.json_files import read_json_object, typed_value
from zoovet.printable import printable

__all__ = ["COMPARED_KINDS", "KINDS", "CutShort", "RunsByKind", "TrainedRun", "by_kind"]

COMPARED_KINDS = ("classifier", "inr_editor", "accuracy_predictor")
"""Kinds of which several runs can be evaluated at once, one beside the other."""

KINDS = ("detector", "repairer", *COMPARED_KINDS)
"""Kinds of runs that can be evaluated."""


@dataclass(frozen=True, kw_only=True)
class CutShort:
    """A training that its time limit ended, so that what came of it depends on the machine's speed and load.

    Attributes:
        run: Folder of the run.
        kind: Of the run.
        steps: Optimizer steps done.
        max_steps: Steps asked for.
        max_minutes: The limit.
    """

    run: str
    kind: str
    steps: int
    max_steps: int
    max_minutes: float

    def describe(self) -> str:
        """In a sentence."""
        kind = self.kind.replace("_", " ")
        return (
            f"cut short: the training of the {kind} in {printable(self.run)} did {self.steps} of {self.max_steps} "
            f"steps before its time was up (training.max_minutes {self.max_minutes:g}); its figures "
            "depend on the machine's speed and load"
        )


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
        cut_short: Where a time limit ended the training before its last step.
        facts: Everything that ``run.json`` says.
    """

    folder: Path
    kind: str
    finished: bool
    zoo: Path
    train_fingerprint: str
    seconds: float | None = None
    cut_short: CutShort | None = None
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
        zoo, kind = typed_value(data, "zoo", dict, where), typed_value(data, "kind", str, where)
        return cls(
            folder,
            kind,
            typed_value(data, "finished", bool, where),
            Path(typed_value(zoo, "path", str, where)),
            typed_value(zoo, "train_fingerprint", str, where),
            None if data.get("seconds") is None else float(typed_value(data, "seconds", float, where)),
            _cut_short(data, folder, kind, where),
            data,
        )


def _cut_short(data: dict[str, Any], folder: Path, kind: str, where: str) -> CutShort | None:
    """What ``run.json`` says of a time limit; nothing in runs of earlier versions."""
    if data.get("cut_short") is None:
        return None
    said = typed_value(data, "cut_short", dict, where)
    return CutShort(
        run=str(folder),
        kind=kind,
        steps=typed_value(said, "steps", int, where),
        max_steps=typed_value(said, "max_steps", int, where),
        max_minutes=float(typed_value(said, "max_minutes", float, where)),
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
