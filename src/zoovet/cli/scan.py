"""``zoovet scan``: which weight files carry a trojan?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_device, at_least_one, device_name
from zoovet.cli.candidates import add_candidates, candidates_of
from zoovet.cli.reading import IMAGES_HELP, SCALING_HELP, add_read_options, notes_of_images, read_options_of
from zoovet.cli.results import print_results
from zoovet.cli.runners import add_ray, cluster_of
from zoovet.cli.scan_bar import scan_bar
from zoovet.cli.scan_outputs import add_outputs, require_outputs, write_outputs
from zoovet.cli.scan_settings import add_settings, policy_of, print_allowances
from zoovet.cli.scan_table import scan_as_table
from zoovet.cli.scanners import add_strangers, scanner_of, stranger_reader_of
from zoovet.cli.sources import SOURCES_HELP, add_offline, gathering, groups_by_hint, named
from zoovet.cli.status import EXIT_ERROR, EXIT_FLAGGED, EXIT_OK, statuses_in_words
from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable
from zoovet.processes import num_usable_cores

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.fetching import Gathered
    from zoovet.vet import (
        Candidate,
        FileResult,
        Judged,
        Policy,
        ReadOptions,
        ScanCache,
        StrangerReader,
        Verdict,
    )

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = f"""
Tell which weight files carry a trojan. No code in a file is run.

  zoovet scan suspect.safetensors
  zoovet scan suspect.pt --input-range 0,1 --mean 0.286 --std 0.353
  zoovet scan downloads/*.pt --detector runs/detector --json > verdicts.json
  zoovet scan suspect.pth --architecture vgg:activation=elu,pooling=max --images photos/ --report pages/
  zoovet scan downloads/*.onnx --images photos/ --effort thorough --sarif scan.sarif
  zoovet scan weights/ hf://OWNER/NAME@v1 --images photos/ --policy zoovet.toml --junit scan.xml --bom bom.json

A file is safetensors (as zoovet writes it, with its graph inside, or a plain state dict), a state dict written by
torch.save, or an ONNX, Keras, torch.export, TorchScript or TFLite file. Without --detector, each network goes to the
shipped model that knows its graph; zoovet --models lists them and their cards. Prints for each network the
in-distribution score (the share of networks like the detector's training networks that are at least as unusual), the
probability of a trojan, the threshold, and the verdict: healthy, trojaned, or unknown, where the network is unlike
those that the detector was trained on, or a score is not a finite number, so that it means nothing. A file that is
given twice is scanned once.

Of a network that no such detector knows, the detector for strangers is asked: triggers are sought for each class
(--effort says how many and for how long) on reference images (--images), a few of each class of the kind that the
network reads; without them on images that the network makes itself, which tell less. Its verdict holds at a rate of
false alarms (--false-alarms) and carries the target class, the trigger that was found, what it does to three images,
and which channels inside it drives: --report FOLDER writes all of that as web pages, --json prints it
(docs/scan.schema.json says how). Writes nothing but these files and the user's cache.

{SOURCES_HELP}

{SCALING_HELP}

{IMAGES_HELP}

In pipelines (docs/pipelines.md): --policy FILE says what is flagged and what may pass; --sarif, --junit and --bom write
the results for code scanners, CI servers and bills of materials. What was sought in a file is kept in the user's cache
folder, and not sought again while the file, the images, the options and the detectors stay (--no-cache).

{statuses_in_words()}

A file that could not be scanned is named on standard error, and the others are scanned all the same. Of an error that
zoovet did not foresee, the environment variable ZOOVET_TRACEBACK=1 shows where it was raised.

Time: a few seconds to start, then about 0.1 s of one core for each network of a shipped model's graph; on two cores,
200 files take about 20 s. A detector that seeks no triggers takes milliseconds for each; seeking triggers in a stranger
takes seconds to minutes, by its size and its classes.
"""

TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="weights, a folder of files, hf://OWNER/NAME, https://… or s3://…"
    )
    add_candidates(parser, "detector")
    add_settings(parser)
    add_strangers(parser)
    parser.add_argument(
        "--json", action="store_true", help="print JSON: verdicts, errors and notes, one entry a network or file"
    )
    add_outputs(parser)
    parser.add_argument(
        "--no-cache", action="store_true", help="seek again what was found in the same files before, and keep nothing"
    )
    add_offline(parser)
    add_read_options(parser)
    add_device(parser)
    parser.add_argument(
        "--workers",
        type=at_least_one,
        metavar="N",
        help="processes that score many files, one thread each; default: as many as there are cores (1 with a GPU)",
    )
    add_ray(parser, "many files' networks are scored and looked at")


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: a scan is not configured."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Scan every file, print what was found."""
    from zoovet.vet import FileResult, failure_of, judged

    policy = policy_of(arguments)
    require_outputs(arguments)
    options = read_options_of(arguments)
    scan = _Scan(arguments, policy, candidates_of(arguments, "detector"), stranger_reader_of(arguments))
    with gathering(arguments.files, offline=arguments.offline, quiet=arguments.json) as gathered:
        results, is_whole = list[FileResult](), True
        for own, notes, files in groups_by_hint(gathered.files, options):
            if is_whole:
                found, is_whole = scan.results(own, [file.path for file in files])
                places = [gathered.files.index(file) for file in files]
                results += [named(one, files[one.place], places[one.place], notes) for one in found]
        results.sort(key=lambda result: result.place)
        num_files = len(gathered.files) + len(gathered.failures)
        for name, text in gathered.failures:
            results.append(FileResult(num_files, name, (), failure_of(ZoovetError(text), name)))
        verdicts = [verdict for result in results for verdict in result.verdicts]
        decided = judged(verdicts, policy, datetime.now(UTC).date())
        _tell(arguments, results, decided, notes_of_images(arguments, options), gathered, is_whole=is_whole)
    if scan.num_found:
        print(f"note: {scan.num_found} of {num_files} files as found before; --no-cache seeks again", file=sys.stderr)
    if not is_whole:
        raise KeyboardInterrupt(f"{len(results)} of {num_files} files were scanned")
    if any(result.failure is not None for result in results):
        return EXIT_ERROR
    return EXIT_OK if all(one.passes for one in decided) else EXIT_FLAGGED


class _Scan:
    """Scans of files that are read with different options.

    Args:
        arguments: The command line.
        policy: What is flagged, and how much is sought.
        candidates: Detectors to choose from.
        strangers: The detector for networks that none of them knows.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        policy: Policy,
        candidates: Sequence[Candidate],
        strangers: StrangerReader | None,
    ) -> None:
        self._arguments, self._policy = arguments, policy
        self._candidates, self._strangers = candidates, strangers
        self._cluster = cluster_of(arguments, workers=arguments.workers)
        self.num_found = 0
        """Files that were answered from the cache."""

    def results(self, options: ReadOptions, files: Sequence[Path]) -> tuple[list[FileResult], bool]:
        """Results in the order of the files, and whether they are all; after Ctrl-C those that there are."""
        arguments = self._arguments
        device = "cpu" if self._cluster is not None else device_name(arguments.device)
        workers = arguments.workers or (num_usable_cores() if device == "cpu" else 1)
        scanner = scanner_of(
            self._policy,
            self._candidates,
            self._strangers,
            options,
            device=device,
            workers=workers,
            runner=self._cluster,
        )
        cache = self._cache(options, device)
        with scan_bar(len(files), quiet=arguments.json) as progress:
            scan = scanner.scan_files if cache is None else partial(cache.scan, scanner)
            found = _collect(scan(files, progress=progress))
        self.num_found += 0 if cache is None else cache.num_found
        return found

    def _cache(self, options: ReadOptions, device: str) -> ScanCache | None:
        """Where what is sought in files is kept, unless it is not to be, or cannot."""
        from zoovet.vet import open_scan_cache, scan_identity

        policy = self._policy
        if self._arguments.no_cache or self._strangers is None:
            return None
        settings = {"effort": policy.effort, "false_alarms": policy.false_alarms, "threshold": policy.threshold}
        identity = scan_identity(options, self._candidates, self._strangers, device=device, **settings)
        if identity is None:
            return None
        cache, problem = open_scan_cache(identity)
        if problem:
            print(f"note: {problem}", file=sys.stderr)
        return cache


def _tell(
    arguments: argparse.Namespace,
    results: Sequence[FileResult],
    decided: Sequence[Judged],
    notes: list[tuple[str, str]],
    gathered: Gathered,
    *,
    is_whole: bool,
) -> None:
    """Print what was found, and write it where that is asked for.

    Args:
        arguments: The command line.
        results: Of the files that were scanned.
        decided: Their verdicts, and what the policy makes of them.
        notes: What is to be said of the images.
        gathered: The files, and what was left out.
        is_whole: Whether the scan came to its end.
    """
    from zoovet.vet import assumed_scaling_note

    verdicts = [one.verdict for one in decided]
    failures = [(result.file, result.failure) for result in results if result.failure is not None]
    notes = [*notes, *((result.file, note) for result in results for note in result.notes)]
    if arguments.json:
        from zoovet.evaluation.report.scan_json import scan_as_json

        print_results(scan_as_json(decided, failures, notes, gathered.skipped, is_whole=is_whole))
    elif verdicts:
        print_results(scan_as_table(decided))
    write_outputs(arguments, decided, failures, {file.name: file.path for file in gathered.files}, is_whole=is_whole)
    for one in gathered.skipped:
        print(f"skipped: {printable(one.name, MAX_PATH_CHARACTERS)}: {one.reason}", file=sys.stderr)
    for file, note in notes:
        print(f"note: {printable(file, MAX_PATH_CHARACTERS)}: {note}", file=sys.stderr)
    for note in dict.fromkeys(note for result in results for note in result.general_notes):
        print(f"note: {note}", file=sys.stderr)
    _print_notes(verdicts)
    print_allowances(decided)
    if assumed := list(dict.fromkeys(verdict.file for verdict in verdicts if verdict.scaling_is_assumed)):
        print(f"note: {assumed_scaling_note(assumed)}", file=sys.stderr)
    for _, failure in failures:
        print(f"{failure.traceback or ''}error: {failure.message}", file=sys.stderr)


def _collect(results: Iterable[FileResult]) -> tuple[list[FileResult], bool]:
    """Results in the order of the files, and whether they are all; after Ctrl-C those that there are."""
    collected: list[FileResult] = []
    try:
        collected.extend(results)
    except KeyboardInterrupt:
        return sorted(collected, key=lambda result: result.place), False
    return sorted(collected, key=lambda result: result.place), True


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
