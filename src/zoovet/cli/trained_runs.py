"""What ``zoovet train`` left in a folder: which kind of run it is, and on which zoo it was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoovet.errors import ZoovetError

__all__ = ["TrainedRun", "one_of_each"]


@dataclass(frozen=True)
class TrainedRun:
    """A training run.

    Attributes:
        folder: Where it is.
        kind: ``detector`` or ``repairer``.
        finished: Whether its training has ended.
        zoo: Where the zoo was.
        train_fingerprint: Of the networks that it was trained on.
    """

    folder: Path
    kind: str
    finished: bool
    zoo: Path
    train_fingerprint: str

    @classmethod
    def read(cls, folder: Path) -> TrainedRun:
        """Read ``run.json``.

        Raises:
            ZoovetError: It is missing or damaged.
        """
        path = folder / "run.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            zoo = data["zoo"]
            return cls(folder, data["kind"], data["finished"], Path(zoo["path"]), zoo["train_fingerprint"])
        except (FileNotFoundError, NotADirectoryError):
            raise ZoovetError(
                f"{folder} is no training run: it has no run.json; give a folder of `zoovet train`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ZoovetError(f"{path} is damaged: {error!r}") from error


def one_of_each(runs: Sequence[TrainedRun]) -> dict[str, TrainedRun]:
    """The runs by their kind.

    Raises:
        ZoovetError: Two are of one kind.
    """
    by_kind: dict[str, TrainedRun] = {}
    for run in runs:
        if run.kind in by_kind:
            raise ZoovetError(
                f"{by_kind[run.kind].folder} and {run.folder} are both {run.kind}s; evaluate one at a time, each with "
                "its own --out"
            )
        by_kind[run.kind] = run
    return by_kind
