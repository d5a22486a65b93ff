"""What an evaluation leaves behind in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoovet.evaluation.examples import NetworkExamples
from zoovet.evaluation.figures import headline_figures, write_figures
from zoovet.evaluation.report import Provenance, write_report
from zoovet.evaluation.results import DetectionResults, RepairResults
from zoovet.evaluation.zoo_summary import ZooSummary

__all__ = ["write_evaluation"]


def write_evaluation(
    folder: Path,
    *,
    zoo: ZooSummary | None,
    detection: DetectionResults | None,
    repair: RepairResults | None,
    examples: Sequence[NetworkExamples],
    seed: int,
    wall_time_seconds: float,
    provenance: Provenance,
) -> dict[str, Any]:
    """Write ``report.html``, ``figures.json``, and the results by network as ``detection.parquet``, ``repair.parquet``.

    Args:
        folder: Where; it must be there.
        zoo: What the zoo holds.
        detection: What detection measured, if it was evaluated.
        repair: What repair measured, if it was evaluated.
        examples: Images to show.
        seed: Seed of the run; also of the bootstrap.
        wall_time_seconds: Wall time of the run.
        provenance: How it was made.

    Returns:
        The figures, as written.
    """
    numbers = headline_figures(detection, repair, seed=seed, wall_time_seconds=wall_time_seconds)
    if detection is not None:
        detection.save(folder / "detection.parquet")
    if repair is not None:
        repair.save(folder / "repair.parquet")
    write_figures(folder / "figures.json", numbers)
    write_report(
        folder / "report.html",
        figures=numbers,
        zoo=zoo,
        detection=detection,
        repair=repair,
        examples=examples,
        provenance=provenance,
    )
    return numbers
