"""``zoovet scan``: which weight files carry a trojan?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

from zoovet.cli.arguments import add_device, device_name
from zoovet.cli.candidates import Candidate, add_candidates, candidates_of
from zoovet.cli.status import EXIT_ERROR, EXIT_FLAGGED, EXIT_OK
from zoovet.cli.suspects import add_activation, load_suspects
from zoovet.errors import ZoovetError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.tasks import Detector

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Tell which weight files carry a trojan, from their weights. No image is needed, and no code in a file is run.

  zoovet scan suspect.safetensors
  zoovet scan downloads/*.pt --detector runs/detector --json > verdicts.json

A file is safetensors (as zoovet writes it, with its spec inside, or a plain state dict) or a state dict written by
torch.save. Without --detector, each network goes to the shipped model that knows its spec; zoovet --models lists them
and their cards. Prints for each network the in-distribution score (the share of networks like the detector's training
networks that are at least as unusual), the probability of a trojan, the threshold, and the verdict: healthy, trojaned,
or unknown, where the network is unlike those that the detector was trained on, so that its probability means nothing.
Writes no file.

Exit status: 0 all healthy, 1 at least one network is trojaned or unknown, 2 at least one file could not be scanned
(each is named on standard error; the others are scanned all the same).

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
        flagged: Whether the score reaches the threshold; of an unknown network that means nothing.
        in_distribution: Share of networks like the training networks that are at least as unusual; ``None`` where the
            detector is of an earlier version and cannot tell.
        verdict: What to go by; ``unknown``: unlike the networks that the detector was trained on.
        model: The shipped model that the detector is of; ``None`` for one that was given.
    """

    file: str
    network: int
    score: float
    threshold: float
    flagged: bool
    in_distribution: float | None
    verdict: Literal["healthy", "trojaned", "unknown"]
    model: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="weights, or several networks' weights")
    add_candidates(parser, "detector")
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

    device = device_name(arguments.device)
    candidates = candidates_of(arguments, "detector")
    load = cache(lambda path: Detector.load(path, device=device))
    verdicts: list[Verdict] = []
    errors: dict[str, str] = {}
    for file in arguments.files:
        try:
            verdicts += _scan(file, candidates, load, arguments)
        except ZoovetError as error:
            errors[str(file)] = str(error)
    if arguments.json:
        failed = [{"file": file, "error": error} for file, error in errors.items()]
        print(json.dumps({"verdicts": list(map(asdict, verdicts)), "errors": failed}, indent=2))
    elif verdicts:
        _print_table(verdicts)
    _print_notes(verdicts)
    for message in errors.values():
        print(f"error: {message}", file=sys.stderr)
    if errors:
        return EXIT_ERROR
    return EXIT_FLAGGED if any(verdict.verdict != "healthy" for verdict in verdicts) else EXIT_OK


def _scan(
    file: Path, candidates: list[Candidate], load: Callable[[Path], Detector], arguments: argparse.Namespace
) -> list[Verdict]:
    networks, candidate = load_suspects(file, candidates, arguments.activation, "detector")
    detector = load(candidate.path)
    threshold = detector.threshold if arguments.threshold is None else arguments.threshold
    scores: list[float] = detector.score(networks).tolist()
    likeness: list[float | None] = [None] * len(networks)
    unknown = [False] * len(networks)
    if detector.distribution is not None:
        likeness = detector.in_distribution(networks).tolist()
        unknown = detector.out_of_distribution(networks).tolist()
    return [
        Verdict(
            str(file),
            index,
            score,
            threshold,
            flagged=score >= threshold,
            in_distribution=likeness[index],
            verdict="unknown" if unknown[index] else "trojaned" if score >= threshold else "healthy",
            model=candidate.model,
        )
        for index, score in enumerate(scores)
    ]


def _print_table(verdicts: list[Verdict]) -> None:
    several = {verdict.file for verdict in verdicts if verdict.network > 0}
    table = Table("file", "in-distribution", "score", "threshold", "verdict", box=None, pad_edge=False)
    words = {"trojaned": "[bold red]trojaned[/]", "healthy": "[green]healthy[/]", "unknown": "[bold yellow]unknown[/]"}
    for verdict in verdicts:
        name = f"{verdict.file}[{verdict.network}]" if verdict.file in several else verdict.file
        likeness = "–" if verdict.in_distribution is None else f"{verdict.in_distribution:.4f}"
        score = "–" if verdict.verdict == "unknown" else f"{verdict.score:.4f}"
        word = words[verdict.verdict]
        table.add_row(name.replace("[", r"\["), likeness, score, f"{verdict.threshold:.4f}", word)
    console = Console()
    if not console.is_terminal:
        console.width = 10_000  # a file or a pipe has no width; names stay whole
    console.print(table)


def _print_notes(verdicts: list[Verdict]) -> None:
    if num_unknown := sum(verdict.verdict == "unknown" for verdict in verdicts):
        many = "1 network is" if num_unknown == 1 else f"{num_unknown} networks are"
        print(f"note: {many} unlike the networks that the detector was trained on: unknown", file=sys.stderr)
    if any(verdict.in_distribution is None for verdict in verdicts):
        print(
            "note: this detector, trained by an earlier zoovet, cannot tell whether networks are like those that it "
            "was trained on; train it again",
            file=sys.stderr,
        )


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value
