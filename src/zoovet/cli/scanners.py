"""The scanner that options ask for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoovet.jobs import Runner
    from zoovet.vet import Candidate, Policy, ReadOptions, Scanner, StrangerReader

__all__ = ["add_strangers", "scanner_of", "stranger_reader_of"]

_EFFORT, _FALSE_ALARMS = "normal", 0.01


def add_strangers(parser: argparse.ArgumentParser) -> None:
    """``--strangers RUN``."""
    parser.add_argument(
        "--strangers",
        type=Path,
        metavar="RUN",
        help="run of a detector for strangers, for networks that no other knows; default the shipped one, unless "
        "--detector or --model is given",
    )


def stranger_reader_of(arguments: argparse.Namespace) -> StrangerReader | None:
    """What is asked about networks that no detector knows: the run that is named, else the shipped one.

    A detector or a model that is named is asked alone.

    Raises:
        ZoovetError: The run is none, or damaged.
    """
    from zoovet.tasks.strangers.detector import StrangerDetector
    from zoovet.vet import shipped_stranger_reader

    if arguments.strangers is not None:
        return StrangerDetector.open(arguments.strangers)
    if arguments.detector is not None or arguments.model is not None:
        return None
    return shipped_stranger_reader(arguments.models_from)


def scanner_of(
    policy: Policy,
    candidates: Sequence[Candidate],
    strangers: StrangerReader | None,
    options: ReadOptions,
    *,
    device: str,
    workers: int,
    runner: Runner | None = None,
) -> Scanner:
    """A scanner by a policy.

    Args:
        policy: What is flagged, and how much is sought.
        candidates: Detectors to choose from.
        strangers: The detector for networks that none of them knows.
        options: What is known of files besides.
        device: Where to compute.
        workers: Processes.
        runner: Where networks are looked at instead: a cluster.

    Raises:
        ZoovetError: See :class:`~zoovet.vet.Scanner`.
    """
    from zoovet.vet import Scanner

    return Scanner(
        candidates,
        threshold=policy.threshold,
        options=options,
        device=device,
        workers=workers,
        runner=runner,
        strangers=strangers,
        effort=policy.effort or _EFFORT,
        false_alarms=policy.false_alarms or _FALSE_ALARMS,
    )
