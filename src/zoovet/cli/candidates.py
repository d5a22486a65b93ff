"""Options that say which detector or repairer networks go to."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.printable import printable

if TYPE_CHECKING:
    from zoovet.vet import Candidate

__all__ = ["add_candidates", "candidates_of"]


def add_candidates(parser: argparse.ArgumentParser, kind: str) -> None:
    """``--detector RUN`` (or ``--repairer RUN``), ``--model NAME`` and ``--models-from FOLDER``."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        f"--{kind}",
        type=Path,
        metavar="RUN",
        help=f"run of a trained {kind}; left out, that of the shipped model which knows the network's graph",
    )
    either.add_argument(
        "--model", metavar="NAME", help="shipped model (zoovet --models), where weights alone leave it open"
    )
    parser.add_argument(
        "--models-from", type=Path, metavar="FOLDER", help="folder of models, instead of those that are shipped"
    )


def candidates_of(arguments: argparse.Namespace, kind: str) -> list[Candidate]:
    """What the command line leaves to choose from. Says on standard error whose file cannot be checked.

    Args:
        arguments: With the options of :func:`add_candidates`.
        kind: ``detector`` or ``repairer``.

    Raises:
        ZoovetError: The run or model given is none, or nothing is given and no model is shipped.
    """
    from zoovet.vet import candidates_for

    given: Path | None = getattr(arguments, kind)
    found = candidates_for(kind, given=given, model=arguments.model, models_from=arguments.models_from)
    for candidate in found:
        if not candidate.has_digest:
            print(
                f"note: {printable(candidate.path)} has no SHA-256, since an earlier zoovet wrote it: damage cannot be "
                f"told; train it again",
                file=sys.stderr,
            )
    return found
