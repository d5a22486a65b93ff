"""``zoovet scan``: which weight files carry a trojan?"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from zoovet.cli.arguments import add_device, device_name
from zoovet.cli.status import EXIT_ERROR, EXIT_FLAGGED, EXIT_OK
from zoovet.cli.suspects import add_activation, load_suspects
from zoovet.errors import ZoovetError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.tasks import Detector

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Tell which weight files carry a trojan, from their weights alone. No image is needed, and no code in a file is run.

  zoovet scan suspect.safetensors --detector runs/detector
  zoovet scan downloads/*.pt --detector runs/detector --json > verdicts.json

A file is safetensors (as zoovet writes it, with its spec inside, or a plain state dict) or a state dict written by
torch.save. Prints for each network the probability of a trojan, the threshold, and the verdict. Writes no file.

Exit status: 0 all healthy, 1 at least one network is flagged, 2 at least one file could not be scanned (each is named
on standard error; the others are scanned all the same).

Time: a few seconds to start, then milliseconds for each network.
"""

TAKES_OVERRIDES = False


@dataclass(frozen=True)
class Verdict:
    """What is printed of one network.

    Attributes:
        file: Where it came from.
        network: Which of the file's networks, from 0.
        score: Probability of a trojan.
        threshold: From which it is flagged.
        flagged: Whether it is.
    """

    file: str
    network: int
    score: float
    threshold: float
    flagged: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="weights, or several networks' weights")
    parser.add_argument("--detector", type=Path, required=True, metavar="RUN", help="run of a trained detector")
    parser.add_argument(
        "--threshold", type=_probability, metavar="P", help="flag from this probability on; default the detector's own"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: verdicts and errors, one entry a network or file"
    )
    add_activation(parser)
    add_device(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: a scan is not configured."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Scan every file, print what was found."""
    from zoovet.tasks import Detector

    detector = Detector.load(arguments.detector, device=device_name(arguments.device))
    threshold = detector.threshold if arguments.threshold is None else arguments.threshold
    verdicts: list[Verdict] = []
    errors: dict[str, str] = {}
    for file in arguments.files:
        try:
            verdicts += _scan(file, detector, threshold, arguments.activation)
        except ZoovetError as error:
            errors[str(file)] = str(error)
    if arguments.json:
        failed = [{"file": file, "error": error} for file, error in errors.items()]
        print(json.dumps({"verdicts": list(map(asdict, verdicts)), "errors": failed}, indent=2))
    elif verdicts:
        _print_table(verdicts)
    for message in errors.values():
        print(f"error: {message}", file=sys.stderr)
    if errors:
        return EXIT_ERROR
    return EXIT_FLAGGED if any(verdict.flagged for verdict in verdicts) else EXIT_OK


def _scan(file: Path, detector: Detector, threshold: float, activation: str | None) -> list[Verdict]:
    scores = detector.score(load_suspects(file, detector.specs, activation)).tolist()
    return [
        Verdict(str(file), index, score, threshold, flagged=score >= threshold) for index, score in enumerate(scores)
    ]


def _print_table(verdicts: list[Verdict]) -> None:
    several = {verdict.file for verdict in verdicts if verdict.network > 0}
    table = Table("file", "score", "threshold", "verdict", box=None, pad_edge=False)
    for verdict in verdicts:
        name = f"{verdict.file}[{verdict.network}]" if verdict.file in several else verdict.file
        word = "[bold red]trojaned[/]" if verdict.flagged else "[green]healthy[/]"
        table.add_row(name.replace("[", r"\["), f"{verdict.score:.4f}", f"{verdict.threshold:.4f}", word)
    console = Console()
    if not console.is_terminal:
        console.width = 10_000  # a file or a pipe has no width; names stay whole
    console.print(table)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value
