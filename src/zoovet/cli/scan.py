"""``zoovet scan``: which weight files carry a trojan?"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoovet.cli.arguments import add_device, at_least_one, device_name
from zoovet.cli.candidates import add_candidates, candidates_of
from zoovet.cli.outputs import require_own_folder
from zoovet.cli.reading import IMAGES_HELP, SCALING_HELP, add_read_options, notes_of_images, read_options_of
from zoovet.cli.results import print_results
from zoovet.cli.sarif import scan_as_sarif
from zoovet.cli.scan_bar import scan_bar
from zoovet.cli.scan_json import scan_as_json
from zoovet.cli.status import EXIT_ERROR, EXIT_FLAGGED, EXIT_OK
from zoovet.errors import ZoovetError
from zoovet.files import require_writable_folder, write_json
from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.vet import Failure, FileResult, StrangerReader, Verdict

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = f"""
Tell which weight files carry a trojan. No code in a file is run.

  zoovet scan suspect.safetensors
  zoovet scan suspect.pt --input-range 0,1 --mean 0.286 --std 0.353
  zoovet scan downloads/*.pt --detector runs/detector --json > verdicts.json
  zoovet scan suspect.pth --architecture vgg:activation=elu,pooling=max --images photos/ --report pages/
  zoovet scan downloads/*.onnx --images photos/ --effort thorough --sarif scan.sarif

A file is safetensors (as zoovet writes it, with its spec inside, or a plain state dict), a state dict written by
torch.save, or an ONNX, Keras or torch.export file. Without --detector, each network goes to the shipped model that
knows its spec; zoovet --models lists them and their cards. Prints for each network the in-distribution score (the share
of networks like the detector's training networks that are at least as unusual), the probability of a trojan, the
threshold, and the verdict: healthy, trojaned, or unknown, where the network is unlike those that the detector was
trained on, or a score is not a finite number, so that it means nothing. A file that is given twice is scanned once.

Of a network that no such detector knows, the detector for strangers is asked: triggers are sought for each class
(--effort says how many and for how long) on reference images (--images), a few of each class of the kind that the
network reads; without them it is unknown. Its verdict holds at a rate of false alarms (--false-alarms) and carries the
target class, the trigger that was found, what it does to three images, and which channels inside it drives: --report
FOLDER writes all of that as web pages, --json prints it (docs/scan.schema.json says how). Writes nothing but --report
and --sarif.

{SCALING_HELP}

{IMAGES_HELP}

Exit status: 0 all healthy, 1 at least one network is trojaned or unknown, 2 at least one file could not be scanned
(each is named on standard error; the others are scanned all the same), or the results could not be written; 130
Ctrl-C, 143 SIGTERM: what was found so far is printed. Of an error that zoovet did not foresee, the environment variable
ZOOVET_TRACEBACK=1 shows where it was raised.

Time: a few seconds to start, then about 0.1 s of one core for each network of a shipped model's spec; on two cores,
200 files take about 20 s. A detector that seeks no triggers takes milliseconds for each; seeking triggers in a stranger
takes seconds to minutes, by its size and its classes.
"""

TAKES_OVERRIDES = False

_FALSE_ALARMS = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="weights, or several networks' weights")
    add_candidates(parser, "detector")
    parser.add_argument(
        "--threshold", type=_probability, metavar="P", help="flag from this probability on; default the detector's own"
    )
    parser.add_argument(
        "--strangers",
        type=Path,
        metavar="RUN",
        help="run of a detector for strangers, for networks that no other knows; default the shipped one, unless "
        "--detector or --model is given",
    )
    parser.add_argument(
        "--effort",
        choices=("quick", "normal", "thorough"),
        default="normal",
        help="how much is sought in networks that only the detector for strangers can tell; default normal",
    )
    parser.add_argument(
        "--false-alarms",
        type=_share,
        metavar="SHARE",
        help="share of healthy ones among these that may be called trojaned, which sets their threshold; default 0.01",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON: verdicts, errors and notes, one entry a network or file"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER", help="write a web page for each network, and index.html"
    )
    parser.add_argument("--sarif", type=Path, metavar="FILE", help="write the results in SARIF 2.1.0")
    add_read_options(parser)
    add_device(parser)
    parser.add_argument(
        "--workers",
        type=at_least_one,
        metavar="N",
        help="processes that score many files, one thread each; default: as many as there are cores (1 with a GPU)",
    )


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: a scan is not configured."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Scan every file, print what was found."""
    from zoovet.vet import Scanner, assumed_scaling_note

    _require_outputs(arguments)
    options, device = read_options_of(arguments), device_name(arguments.device)
    scanner = Scanner(
        candidates_of(arguments, "detector"),
        threshold=arguments.threshold,
        options=options,
        device=device,
        workers=arguments.workers or (_num_cores() if device == "cpu" else 1),
        strangers=_stranger_reader(arguments),
        effort=arguments.effort,
        false_alarms=_FALSE_ALARMS if arguments.false_alarms is None else arguments.false_alarms,
    )
    files = list(dict.fromkeys(arguments.files))
    with scan_bar(len(files), quiet=arguments.json) as progress:
        results, is_whole = _collect(scanner.scan_files(files, progress=progress))
    verdicts = [verdict for result in results for verdict in result.verdicts]
    failures = [(result.file, result.failure) for result in results if result.failure is not None]
    notes = [*notes_of_images(arguments, options)]
    notes += [(result.file, note) for result in results for note in result.notes]
    if arguments.json:
        print_results(scan_as_json(verdicts, failures, notes))
    elif verdicts:
        print_results(_as_table(verdicts))
    _write(arguments, verdicts, failures, is_whole=is_whole)
    for file, note in notes:
        print(f"note: {printable(file, MAX_PATH_CHARACTERS)}: {note}", file=sys.stderr)
    for note in dict.fromkeys(note for result in results for note in result.general_notes):
        print(f"note: {note}", file=sys.stderr)
    _print_notes(verdicts)
    if assumed := list(dict.fromkeys(verdict.file for verdict in verdicts if verdict.scaling_is_assumed)):
        print(f"note: {assumed_scaling_note(assumed)}", file=sys.stderr)
    for _, failure in failures:
        print(f"{failure.traceback or ''}error: {failure.message}", file=sys.stderr)
    if not is_whole:
        raise KeyboardInterrupt(f"{len(results)} of {len(files)} files were scanned")
    if failures:
        return EXIT_ERROR
    return EXIT_FLAGGED if any(verdict.verdict != "healthy" for verdict in verdicts) else EXIT_OK


def _stranger_reader(arguments: argparse.Namespace) -> StrangerReader | None:
    """What is asked about networks that no detector knows: the run that is named, else the shipped one.

    A detector or a model that is named is asked alone.
    """
    from zoovet.tasks.strangers.detector import StrangerDetector
    from zoovet.vet import shipped_stranger_reader

    if arguments.strangers is not None:
        return StrangerDetector.open(arguments.strangers)
    if arguments.detector is not None or arguments.model is not None:
        return None
    return shipped_stranger_reader(arguments.models_from)


def _require_outputs(arguments: argparse.Namespace) -> None:
    """Raise where what is asked for contradicts itself, or cannot be written."""
    if arguments.threshold is not None and arguments.false_alarms is not None:
        raise ZoovetError("--threshold and --false-alarms both set the threshold: leave one of them out")
    if arguments.report is not None:
        require_own_folder(arguments.report, "index.html", "a scan's pages", option="--report")
    if arguments.sarif is not None:
        if arguments.sarif.is_dir():
            raise ZoovetError(f"{arguments.sarif} is a folder; give a file as --sarif")
        scanned = {path.resolve() for path in arguments.files}
        if arguments.sarif.resolve() in scanned:
            raise ZoovetError(f"--sarif {arguments.sarif} is one of the files to scan; give another")
        require_writable_folder(arguments.sarif.parent)


def _write(
    arguments: argparse.Namespace,
    verdicts: Sequence[Verdict],
    failures: Sequence[tuple[str, Failure]],
    *,
    is_whole: bool,
) -> None:
    """The pages and the SARIF file, where they are asked for."""
    if arguments.sarif is not None:
        write_json(arguments.sarif, scan_as_sarif(verdicts, failures, is_whole=is_whole))
    if arguments.report is not None:
        from zoovet.evaluation.report.verdict_pages import write_verdict_pages

        write_verdict_pages(arguments.report, verdicts, failures)


def _num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collect(results: Iterable[FileResult]) -> tuple[list[FileResult], bool]:
    """Results in the order of the files, and whether they are all; after Ctrl-C those that there are."""
    collected: list[FileResult] = []
    try:
        collected.extend(results)
    except KeyboardInterrupt:
        return sorted(collected, key=lambda result: result.place), False
    return sorted(collected, key=lambda result: result.place), True


def _as_table(verdicts: Sequence[Verdict]) -> str:
    several = {verdict.file for verdict in verdicts if verdict.network > 0}
    columns = ["file", "in-distribution", "score", "threshold", "verdict"]
    has_targets = any(verdict.target is not None for verdict in verdicts)
    table = Table(*columns, *(["target"] if has_targets else []), box=None, pad_edge=False)
    words = {"trojaned": "[bold red]trojaned[/]", "healthy": "[green]healthy[/]", "unknown": "[bold yellow]unknown[/]"}
    for verdict in verdicts:
        name = printable(verdict.file, MAX_PATH_CHARACTERS)
        name = f"{name}[{verdict.network}]" if verdict.file in several else name
        score = _in_words(None if verdict.verdict == "unknown" else verdict.probability)
        likeness, threshold = _in_words(verdict.in_distribution), _in_words(verdict.threshold)
        target = [escape(_target_in_words(verdict))] if has_targets else []
        table.add_row(escape(name), likeness, score, threshold, words[verdict.verdict], *target)
    terminal = Console()
    # A file or a pipe has no width; names stay whole. Written by print_results, since rich leaves a broken pipe with 1.
    width = terminal.width if terminal.is_terminal else 10_000
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal.is_terminal)
    with console.capture() as shown:
        console.print(table)
    return shown.get().removesuffix("\n")


def _target_in_words(verdict: Verdict) -> str:
    if verdict.target is None:
        return "–"
    name = "" if verdict.target_name is None else f" {printable(verdict.target_name)}"
    return f"{verdict.target}{name}"


def _in_words(number: float | None) -> str:
    return "–" if number is None else f"{number:.4f}"


def _print_notes(verdicts: Sequence[Verdict]) -> None:
    reasons = [verdict.reason for verdict in verdicts if verdict.reason is not None]
    for reason in dict.fromkeys(reasons):
        count = reasons.count(reason)
        print(f"note: {'1 network is' if count == 1 else f'{count} networks are'} unknown: {reason}", file=sys.stderr)
    of_weights = [verdict for verdict in verdicts if verdict.rests_on == "weights"]
    if any(verdict.in_distribution is None and verdict.reason is None for verdict in of_weights):
        print(
            "note: this detector, trained by an earlier zoovet, cannot tell whether networks are like those that it "
            "was trained on; train it again",
            file=sys.stderr,
        )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number above 0 and below 1, got {text!r}")
    return value


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value
