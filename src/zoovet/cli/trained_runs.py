"""What ``zoovet train`` left in a folder: which kind of run it is, and on which zoo it was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError, nearest

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
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            zoo, seconds = data["zoo"], data.get("seconds")
            return cls(
                folder,
                data["kind"],
                data["finished"],
                Path(zoo["path"]),
                zoo["train_fingerprint"],
                None if seconds is None else float(seconds),
                data,
            )
        except (FileNotFoundError, NotADirectoryError):
            raise ZoovetError(
                f"{folder} is no training run: it has no run.json; give a folder of `zoovet train`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ZoovetError(f"{path} is damaged: {error!r}") from error


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
