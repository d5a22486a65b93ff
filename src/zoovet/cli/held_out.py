"""Measuring trained runs on held-out networks, and writing down what was measured: for ``evaluate`` and ``demo``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zoovet.cli.trained_runs import TrainedRun
from zoovet.config import read_config
from zoovet.errors import ZoovetError
from zoovet.evaluation.detection import evaluate_detection
from zoovet.evaluation.examples import NetworkExamples, collect_examples
from zoovet.evaluation.figures import STATNN, headline_figures, write_figures
from zoovet.evaluation.repair import evaluate_repair
from zoovet.evaluation.report import Provenance, write_report
from zoovet.evaluation.results import DetectionResults, RepairResults
from zoovet.evaluation.zoo_summary import summarize_zoo
from zoovet.rivals import StatNNDetector
from zoovet.tasks import Detector, Repairer
from zoovet.tasks.checkpoints import library_versions
from zoovet.tasks.population import load_populations
from zoovet.zoo import TrojanRecipe, Zoo
from zoovet.zoo.image_arrays import load_images

__all__ = ["Measured", "Tell", "measure_runs", "require_same_networks", "write_evaluation"]


class Tell(Protocol):
    """What shows lines of progress."""

    def __call__(self, text: str, *, important: bool = True) -> None:
        """Show a line; one that is not important may be left out."""


@dataclass(frozen=True)
class Measured:
    """What was measured on a zoo's test networks; ``None`` where there was no such run."""

    detection: DetectionResults | None
    repair: RepairResults | None
    examples: list[NetworkExamples]


def require_same_networks(runs: dict[str, TrainedRun], zoo: Zoo) -> None:
    """Check that the zoo's training networks are those of the runs, so that its test networks were never trained on.

    Raises:
        ZoovetError: They are others.
    """
    fingerprint = load_populations(zoo)[0].fingerprint()
    for run in runs.values():
        if run.train_fingerprint != fingerprint:
            raise ZoovetError(
                f"{run.folder} was not trained on the training networks of {zoo.path} (but on those of {run.zoo}, as "
                "it was then), so that zoo's test networks may have been trained on; give the same zoo"
            )


def measure_runs(
    runs: dict[str, TrainedRun],
    zoo: Zoo,
    *,
    seed: int,
    device: str,
    data_root: Path | None,
    num_images: int | None = None,
    tell: Tell,
) -> Measured:
    """Measure runs on a zoo's test split.

    Args:
        runs: By kind: ``detector``, ``repairer``, or both.
        zoo: The zoo, opened; StatNN is fitted on its training split.
        seed: Of the examples that are drawn.
        device: ``cpu`` or ``cuda``.
        data_root: Where image datasets lie.
        num_images: Test images that repair is measured on; ``None`` for all that the zoo was measured on.
        tell: Told what is being done, and how far it is.

    Raises:
        ZoovetError: The test split does not suffice, or the images are not those of the zoo.
    """
    test = zoo.split("test")
    detection, repair, examples = None, None, list[NetworkExamples]()
    if "detector" in runs:
        tell("fitting StatNN, scoring test networks")
        detector = Detector.load(runs["detector"].folder, device=device)
        detection = evaluate_detection(detector, test, rivals={STATNN: StatNNDetector.fit(zoo)})
    if "repairer" in runs:
        tell("repairing test networks, measuring them on test images")
        repairer = Repairer.load(runs["repairer"].folder, device=device)
        images = load_images(read_config(TrojanRecipe, zoo.recipe), data_root).test
        repair = evaluate_repair(
            repairer,
            test,
            images,
            num_images=num_images,
            progress=lambda done, total: tell(f"measured {done} of {total}", important=False),
        )
        examples = collect_examples(repairer, test, images, np.random.default_rng([seed, 2]))
    return Measured(detection, repair, examples)


def write_evaluation(
    out: Path,
    measured: Measured,
    zoo: Zoo,
    *,
    seed: int,
    device: str,
    started: float,
    commands: Sequence[str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Write ``report.html``, ``figures.json`` and the results network by network.

    Args:
        out: Folder.
        measured: What was measured.
        zoo: The whole zoo.
        seed: Of the bootstrap.
        device: What it ran on.
        started: ``time.monotonic()`` when the work began.
        commands: How the same is made again.
        notes: What a reader must know besides.

    Returns:
        The content of ``figures.json``.
    """
    for name, results in (("detection", measured.detection), ("repair", measured.repair)):
        if results is not None:
            results.save(out / f"{name}.parquet")
    seconds = time.monotonic() - started
    contents = headline_figures(measured.detection, measured.repair, seed=seed, wall_time_seconds=seconds)
    provenance = Provenance(
        zoo=str(zoo.path),
        commands=commands,
        versions=library_versions(),
        device=device,
        finished=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        notes=notes,
    )
    write_report(
        out / "report.html",
        figures=contents,
        zoo=summarize_zoo(zoo),
        detection=measured.detection,
        repair=measured.repair,
        examples=measured.examples,
        provenance=provenance,
    )
    write_figures(out / "figures.json", contents)
    return contents
