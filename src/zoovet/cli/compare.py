"""``zoovet compare``: what changed between two versions of one network?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoovet.cli.arguments import add_device, device_name
from zoovet.cli.candidates import add_candidates, candidates_of
from zoovet.cli.reading import IMAGES_HELP, SCALING_HELP, add_read_options, notes_of_images, read_options_of
from zoovet.cli.results import print_results
from zoovet.cli.scan_settings import add_settings, policy_of, print_allowances
from zoovet.cli.scan_table import scan_as_table
from zoovet.cli.scanners import add_strangers, scanner_of, stranger_reader_of
from zoovet.cli.status import EXIT_FLAGGED, EXIT_OK, statuses_in_words
from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable, text_of_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.vet import Comparison, Judged, Scanner, TensorChange

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = f"""
Say what changed from one version of a network to the next: its tensors, its answers, its verdict. Writes nothing.

  zoovet compare last.safetensors new.safetensors
  zoovet compare v1.onnx v2.onnx --images photos/ --policy zoovet.toml --json

Files are read as zoovet scan reads them; no code in them is run. For each tensor that changed: the norm of the
difference by the norm of the first version. With reference images (--images): each version's accuracy on them, and the
share that both take for the same class. Then the verdicts on both, as zoovet scan gives them (--no-verdicts leaves them
out: seeking triggers takes minutes).

{SCALING_HELP}

{IMAGES_HELP}

{statuses_in_words()} Of compare, the second version counts; without verdicts it leaves with 0.

Time: seconds without verdicts; with them, as zoovet scan of two files.
"""

TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("before", type=Path, metavar="A", help="weights of the first version")
    parser.add_argument("after", type=Path, metavar="B", help="weights of the second")
    parser.add_argument("--no-verdicts", action="store_true", help="only tensors and answers")
    add_candidates(parser, "detector")
    add_settings(parser)
    add_strangers(parser)
    parser.add_argument("--json", action="store_true", help="print JSON: tensors, answers, verdicts, notes")
    add_read_options(parser)
    add_device(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: a comparison is not configured."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Compare two files, print what changed."""
    from zoovet.vet import compare_files, judged

    policy, options = policy_of(arguments), read_options_of(arguments)
    files, candidates = (arguments.before, arguments.after), candidates_of(arguments, "detector")
    compared = compare_files(files, candidates, options)
    decided: list[Judged] = []
    if not arguments.no_verdicts:
        device = device_name(arguments.device)
        scanner = scanner_of(policy, candidates, stranger_reader_of(arguments), options, device=device, workers=1)
        decided = judged([_verdict(scanner, file) for file in files], policy, datetime.now(UTC).date())
    notes = [*notes_of_images(arguments, options), *compared.notes]
    if arguments.json:
        print_results(_as_json(compared, decided, notes))
    else:
        print_results(_as_text(compared, decided))
    for file, note in dict.fromkeys(notes):
        print(f"note: {printable(file, MAX_PATH_CHARACTERS)}: {note}", file=sys.stderr)
    for one in decided:
        if one.verdict.reason is not None:
            file = printable(one.verdict.file, MAX_PATH_CHARACTERS)
            print(f"note: {file} is unknown: {one.verdict.reason}", file=sys.stderr)
    print_allowances(decided)
    return EXIT_OK if all(one.passes for one in decided[1:]) else EXIT_FLAGGED


def _verdict(scanner: Scanner, file: Path) -> Any:
    """The verdict on the one network of a file."""
    (result,) = scanner.scan_files([file])
    if result.failure is not None:
        raise ZoovetError(result.failure.message)
    return result.verdicts[0]


def _as_text(compared: Comparison, decided: Sequence[Judged]) -> str:
    changed = [tensor for tensor in compared.tensors if tensor.change != 0]
    lines = [f"{len(changed)} of {len(compared.tensors)} tensors changed"]
    width = max((len(printable(tensor.name)) for tensor in changed), default=0)
    lines += [f"  {printable(tensor.name):{width}}  {_in_words(tensor)}" for tensor in changed]
    answers = compared.answers
    if answers is not None:
        lines.append(f"same class on {answers.agreement:.1%} of {answers.num_images} reference images")
        if answers.accuracies is not None:
            before, after = answers.accuracies
            lines.append(f"accuracy on them: {before:.1%} before, {after:.1%} after")
    if decided:
        lines += ["", scan_as_table(decided)]
    return "\n".join(lines)


def _in_words(tensor: TensorChange) -> str:
    before, after = ("×".join(map(str, shape or ())) or "1" for shape in (tensor.before, tensor.after))
    if tensor.before is None:
        return f"{after}, only in the second"
    if tensor.after is None:
        return f"{before}, only in the first"
    if tensor.change is None:
        return f"{before} became {after}"
    return f"{before}, by {tensor.change:.2%}"


def _as_json(compared: Comparison, decided: Sequence[Judged], notes: Sequence[tuple[str, str]]) -> str:
    from zoovet.evaluation.report.scan_json import finite_or_none, verdict_as_json

    answers = compared.answers
    found = {
        "tensors": [{**vars(tensor), "change": finite_or_none(tensor.change)} for tensor in compared.tensors],
        "answers": None if answers is None else vars(answers),
        "verdicts": list(map(verdict_as_json, decided)),
        "notes": [{"file": text_of_name(file), "note": note} for file, note in dict.fromkeys(notes)],
    }
    return json.dumps(found, indent=2, allow_nan=False)
