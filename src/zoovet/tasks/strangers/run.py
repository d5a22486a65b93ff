"""A training of a detector for strangers: evidence of a park, readers, and what they promise, in one folder."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from zoovet.errors import ZoovetError
from zoovet.files import storage_errors
from zoovet.tasks.checkpoints import CHECKPOINT_NAME
from zoovet.tasks.runs import open_run
from zoovet.tasks.strangers.calibration import threshold_logit
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.detector import KIND, StrangerDetector
from zoovet.tasks.strangers.efforts import DEFAULT_EFFORT
from zoovet.tasks.strangers.park_evidence import ParkEvidence, found_evidence
from zoovet.tasks.strangers.training import LeftOut, stranger_detector
from zoovet.tasks.training_config import InversionProgress, Progress
from zoovet.zoo import Zoo

__all__ = ["EVIDENCE_FOLDER", "train_stranger_detector"]

EVIDENCE_FOLDER = "evidence"
"""Of a run's folder: what was found out about the park's networks."""

_LEARNED_FROM = ("train", "validation")
_FALSE_ALARMS = 0.05


def train_stranger_detector(
    config: StrangerConfig,
    zoo: Zoo,
    out: Path | str,
    *,
    evidence: Path | None = None,
    workers: int = 1,
    data_root: Path | None = None,
    progress: Progress | None = None,
) -> StrangerDetector:
    """Train a detector for strangers on a park's training and validation networks.

    Args:
        config: How.
        zoo: The park, or what is built of it.
        out: Folder of the run.
        evidence: Folder of evidence; what lies there is not sought again. In the run's folder where left out.
        workers: Processes that seek evidence, of one thread each.
        data_root: Folder of image datasets; ``None``: the usual one.
        progress: Told how many networks' evidence was found.

    Raises:
        ZoovetError: The zoo is no park, has one image set only, or no healthy or no trojaned networks; its images are
            not there; the folder holds another run.
    """
    learned_from = zoo.select(np.isin(zoo.column("split"), _LEARNED_FROM))
    if not len(learned_from):
        raise ZoovetError(f"the zoo {zoo.path} has no training and no validation networks")
    facts = {"zoo": _facts(learned_from)}
    run = open_run(out, KIND, config, facts)
    if run.finished:
        return StrangerDetector.open(run.folder)
    start = time.monotonic()

    def found(done: int, total: int) -> None:
        if progress is not None:
            progress(InversionProgress(done, total, time.monotonic() - start))

    try:
        with storage_errors(run.folder):
            park = ParkEvidence(learned_from, config, evidence or run.folder / EVIDENCE_FOLDER, data_root)
            rows = found_evidence(park, workers=workers, progress=found)
            detector, strangers, few = stranger_detector(rows, config, facts["zoo"], of_few=park.rows_of_few())
            figures = {effort: _figures(own) for effort, own in strangers.items()}
            detector.description["validation"] = figures[DEFAULT_EFFORT]
            detector.description["validation_by_effort"] = figures
            by_count = few[DEFAULT_EFFORT].by_count()
            detector.description["validation_of_few"] = {str(count): _figures(own) for count, own in by_count.items()}
            run.require_held()
            detector.save(run.folder / CHECKPOINT_NAME)
            run.finish(time.monotonic() - start)
    finally:
        run.release()
    return StrangerDetector.open(run.folder)


def _facts(zoo: Zoo) -> dict[str, Any]:
    """Which networks of which park: JSON values."""
    parts = {name: zoo.split(name) for name in _LEARNED_FROM}
    return {
        "path": str(zoo.path.resolve()),
        **{f"{name}_fingerprint": _fingerprint(part) for name, part in parts.items()},
        **{f"num_{name}": len(part) for name, part in parts.items()},
    }


def _fingerprint(zoo: Zoo) -> str:
    names = "\n".join(sorted(map(str, zoo.column("network_id"))))
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def _figures(strangers: LeftOut) -> dict[str, float]:
    """How well networks of image sets that were left out are told."""
    is_trojaned, logits = strangers.is_trojaned, strangers.logits
    threshold = threshold_logit(logits[~is_trojaned], _FALSE_ALARMS)
    targets = np.array([row.labelled.target for row in strangers.rows])
    return {
        "auc_image_set_left_out": float(roc_auc_score(is_trojaned.numpy(), logits.numpy())),
        "tpr_at_5_percent": float((logits[is_trojaned] >= threshold).float().mean()),
        "target_named": float((strangers.named.numpy() == targets)[targets >= 0].mean()),
    }
