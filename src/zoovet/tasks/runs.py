"""A run: a folder that starts with a configuration, survives interruptions, and ends with a checkpoint.

The folder holds ``config.yaml``, ``run.json`` (what the run is of, whether it is finished, how long it took, and
whether a time limit cut it short),
``checkpoint.safetensors`` (the best metanetwork so far; what users load), ``resume.ckpt`` (Lightning's state at the
last validation, removed at the end), and ``log/version_K`` (each session's ``metrics.csv`` and its logger's files).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoovet.config import config_to_dict, dotted, write_config, written_config
from zoovet.errors import ZoovetError
from zoovet.files import remove_dead_partials, write_json
from zoovet.folder_lock import FolderLock
from zoovet.json_files import read_json_object, typed_value
from zoovet.tasks.network_pool import NetworkPool

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["RESUME_NAME", "Run", "open_run", "zoo_facts"]

RESUME_NAME = "resume.ckpt"
"""What an unfinished run goes on from."""
_MAY_DIFFER = ("zoo.path", "config.training.logger", "config.training.processes")
"""What may be another when a run is resumed."""


@dataclass(frozen=True)
class Run:
    """A run's folder, open for its training.

    Attributes:
        folder: Where it is.
        kind: What its checkpoint is for: ``detector``, ``repairer``.
        facts: What ``run.json`` says of the data; JSON values.
        finished: Whether the training has ended already.
        lock: What holds the folder until the training has ended, or nobody knows of the run any more.
    """

    folder: Path
    kind: str
    facts: dict[str, Any]
    finished: bool
    lock: FolderLock | None = field(default=None, repr=False, compare=False)

    def finish(self, seconds: float, cut_short: dict[str, float] | None = None) -> None:
        """Say that the training has ended, after how long, and what cut it short."""
        self.require_held()
        self._write(finished=True, seconds=round(seconds, 3), cut_short=cut_short)

    def release(self) -> None:
        """Give the folder free."""
        if self.lock is not None:
            self.lock.release()

    def require_held(self) -> None:
        """Raise a :class:`zoovet.files.StorageError` where the folder is gone, or another process's."""
        if self.lock is not None:
            self.lock.require_held()

    def _write(
        self, *, finished: bool, seconds: float | None = None, cut_short: dict[str, float] | None = None
    ) -> None:
        state = {"kind": self.kind, "finished": finished, "seconds": seconds, "cut_short": cut_short}
        write_json(self.folder / "run.json", {**state, **self.facts})


def open_run(folder: Path | str, kind: str, config: DataclassInstance, facts: dict[str, Any]) -> Run:
    """Start a run in a folder, or find the one that was begun or finished there.

    Args:
        folder: Where; made where missing.
        kind: ``detector`` or ``repairer``.
        config: The task's configuration.
        facts: What the run is of, beside its configuration: JSON values.

    Raises:
        ZoovetError: The folder cannot be written to, is held by another process, or holds a run of another kind,
            configuration or zoo; the message names the first difference.
    """
    folder = Path(folder)
    lock = FolderLock(folder, "trained")
    try:
        finished = _begin_or_compare(folder, kind, config, facts)
        remove_dead_partials(folder)
    except BaseException:
        lock.release()
        raise
    if finished:
        lock.release()
    return Run(folder, kind, facts, finished, None if finished else lock)


def _begin_or_compare(folder: Path, kind: str, config: DataclassInstance, facts: dict[str, Any]) -> bool:
    """Write what a new run begins with, or check that it is the one that lies there; whether that is finished."""
    written = folder / "run.json"
    if not written.exists():
        path = folder / "config.yaml"
        if path.exists() and written_config(type(config), path) != config_to_dict(config):
            raise ZoovetError(f"{path} is there and of something else than this run; give another --out")
        write_config(config, path)
        Run(folder, kind, facts, finished=False)._write(finished=False)
        return False
    try:
        before = read_json_object(written)
        finished = typed_value(before, "finished", bool, f"{written} is damaged")
    except ZoovetError as error:
        raise ZoovetError(f"{error}; give another --out") from None
    for key in ("finished", "seconds", "cut_short"):
        before.pop(key, None)
    old = dotted({**before, "config": written_config(type(config), folder / "config.yaml")})
    new = dotted({"kind": kind, **facts, "config": config_to_dict(config)})
    for key in sorted((old.keys() | new.keys()) - set(_MAY_DIFFER)):
        if old.get(key) != new.get(key):
            name = key.removeprefix("config.")
            raise ZoovetError(
                f"{folder} holds {'a finished' if finished else 'an unfinished'} run with another {name}: "
                f"{old.get(key)!r} there, {new.get(key)!r} now; give another --out, or remove that folder"
            )
    if finished:
        (folder / RESUME_NAME).unlink(missing_ok=True)  # of a run that was killed as it ended
    return finished


def zoo_facts(path: Path, train: NetworkPool, validation: NetworkPool) -> dict[str, Any]:
    """What a run and its checkpoint say of the zoo: where it is, which networks were used, and how many."""
    return {
        "path": str(path.resolve()),
        "train_fingerprint": train.fingerprint(),
        "validation_fingerprint": validation.fingerprint(),
        "num_train": len(train),
        "num_validation": len(validation),
        "num_left_out": train.num_left_out + validation.num_left_out,
    }
