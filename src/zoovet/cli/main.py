"""The entry point: choose the verb, run it, turn errors into messages and exit statuses."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zoovet import __version__
from zoovet.cli.arguments import VerbParser, parse_verb
from zoovet.cli.signals import ending_signals
from zoovet.cli.status import EXIT_ERROR, EXIT_OK, statuses_in_words
from zoovet.cli.streams import flush, is_told, say
from zoovet.errors import ZoovetError, nearest
from zoovet.printable import printable
from zoovet.processes import start_resource_tracker

__all__ = ["VERBS", "main", "verb_module"]

VERBS = {
    "import": "make a zoo of a published dataset of networks",
    "build": "train a zoo of healthy and poisoned networks from a recipe",
    "zoo": "write a recipe for networks like yours, on your images",
    "summary": "say what the networks of a zoo reach, by what they are",
    "canonicalize": "bring the phases of a zoo's SIRENs into one interval; their pictures stay",
    "train": "train a detector or a repairer on a zoo",
    "evaluate": "measure detectors and repairers on networks held out from training, and write a report",
    "bench": "compare detectors and repairers, ours and rivals', with several seeds",
    "scan": "tell which weight files carry a trojan",
    "compare": "say what changed between two versions of a network, and their verdicts",
    "repair": "edit a network's weights so that its trojan stops working",
    "serve": "scan and repair in a browser; an endpoint for programs",
    "demo": "all of it in a few minutes: build, train, evaluate, report",
}

_MAX_CHARACTERS = 2000
"""Of a line that says what went wrong; whatever it names is escaped, and shortened before."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; by default ``sys.argv[1:]``.

    Returns:
        The exit status (:data:`zoovet.cli.status.EXIT_STATUSES`).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _show_any_name()
    with ending_signals() as ending, _warnings_in_one_line():
        try:
            status = _run(arguments)
            flush()
            return status
        except ZoovetError as error:
            say(f"error: {printable(error, _MAX_CHARACTERS)}")
        except KeyboardInterrupt as interrupt:
            said = printable(interrupt, _MAX_CHARACTERS)
            say(f"{ending.word}{f': {said}' if said else ''}")
            return ending.exit_status
        except OSError as error:
            if not is_told(error):
                raise
        return EXIT_ERROR


def verb_module(name: str) -> Any:
    """The module of a verb: the one of its name, but where that is a word of Python."""
    return importlib.import_module(f"zoovet.cli.{'import_zoo' if name == 'import' else name}")


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return EXIT_OK if arguments else EXIT_ERROR
    if arguments[0] == "--version":
        print(f"zoovet {__version__}")
        return EXIT_OK
    if arguments[0] == "--models":
        return _print_models()
    name = arguments[0]
    if name not in VERBS:
        raise ZoovetError(f"there is no verb {name!r}{nearest(name, VERBS)} See zoovet --help.")
    verb = verb_module(name)
    parser = VerbParser(name, verb)
    if {"-h", "--help"} & set(arguments[1:]):
        print(parser.format_help(), end="")
        return EXIT_OK
    parsed = parse_verb(parser, arguments[1:])
    start_resource_tracker()
    _flush_denormals()
    _disregard_matplotlibrc()
    status: int = verb.run(parsed)
    return status


def _show_any_name() -> None:
    """Have standard output show a name that its encoding lacks, such as one that is no UTF-8, with escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show what zoovet warns of as it shows errors, without the line of source that did."""
    usual = warnings.formatwarning

    def shown(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category is UserWarning:
            return f"warning: {printable(message, _MAX_CHARACTERS)}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = shown
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _flush_denormals() -> None:
    """Take numbers below 1.2e-38 for zero in this process.

    Weight decay brings the weights of channels that no image wakes down to such numbers, in one ReLU network of six
    of the Fashion-MNIST zoo, and processors calculate some twenty times slower with them.
    """
    import torch

    torch.set_flush_denormal(True)


def _disregard_matplotlibrc() -> None:
    """Keep matplotlib from obeying, or complaining of, the working folder's ``matplotlibrc``.

    It reads that file when it is imported, unless the process is elsewhere; so where there is one, it is imported now.
    """
    if os.path.lexists("matplotlibrc"):
        with contextlib.chdir(Path(__file__).parent):
            importlib.import_module("matplotlib")


def _overview() -> str:
    verbs = "\n".join(f"  {name:14}{summary}" for name, summary in VERBS.items())
    return f"""usage: zoovet VERB ...

Learns on neural networks: builds zoos of small networks, tells which carry a trojan by reading their weights, and
repairs those that do by editing their weights.

verbs:
{verbs}

  zoovet VERB --help   what it does, an example, what it writes, how long it takes
  zoovet --models        the detectors and repairers that come with zoovet, what they know, where their cards are
  zoovet --version

{statuses_in_words()}

example:
  zoovet build configs/zoo/fashion-mnist-trojan.yaml --out zoos/fmnist --workers 2
  zoovet train configs/detection.yaml --data.zoo zoos/fmnist --out runs/detector
  zoovet train configs/repair.yaml --data.zoo zoos/fmnist --out runs/repairer
  zoovet evaluate runs/detector runs/repairer --out runs/report
  zoovet scan suspect.safetensors
  zoovet repair suspect.safetensors --out healed.safetensors"""


def _print_models() -> int:
    from zoovet.cli.models import print_models

    print_models()
    return EXIT_OK
