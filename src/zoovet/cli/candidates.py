"""The detectors or repairers that a file's networks may go to: the one given, or those that come with the package."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet import shipped
from zoovet.errors import ZoovetError

if TYPE_CHECKING:
    from zoovet.networks import NetworkSpec

__all__ = ["Candidate", "add_candidates", "candidates_of", "describe_shipped", "shipped_candidates"]


@dataclass(frozen=True)
class Candidate:
    """A detector or a repairer, not loaded yet.

    Attributes:
        model: Name of the shipped model that it is of; ``None`` for the one that was given.
        path: Its run or its file.
        specs: What it was trained on.
    """

    model: str | None
    path: Path
    specs: tuple[NetworkSpec, ...]


def add_candidates(parser: argparse.ArgumentParser, kind: str) -> None:
    """``--detector RUN`` (or ``--repairer RUN``), ``--model NAME`` and ``--models-from FOLDER``."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        f"--{kind}",
        type=Path,
        metavar="RUN",
        help=f"run of a trained {kind}; left out, that of the shipped model which knows the network's spec",
    )
    either.add_argument(
        "--model", metavar="NAME", help="shipped model (zoovet --models), where weights alone leave it open"
    )
    parser.add_argument(
        "--models-from", type=Path, metavar="FOLDER", help="folder of models, instead of those that are shipped"
    )


def candidates_of(arguments: argparse.Namespace, kind: str) -> list[Candidate]:
    """What the command line leaves to choose from.

    Args:
        arguments: With the options of :func:`add_candidates`.
        kind: ``detector`` or ``repairer``.

    Raises:
        ZoovetError: The run or model given is none, or nothing is given and no model is shipped.
    """
    from zoovet.tasks.checkpoints import load_checkpoint
    from zoovet.tasks.vetting import specs_of

    given: Path | None = getattr(arguments, kind)
    if given is not None:
        return [Candidate(None, given, specs_of(load_checkpoint(given, kind)))]
    found = shipped_candidates(kind, arguments.models_from, arguments.model)
    if not found:
        place = arguments.models_from or shipped.folder()
        raise ZoovetError(f"no {kind} comes with this zoovet ({place} holds none): give one of your own, --{kind} RUN")
    return found


def shipped_candidates(kind: str, models: Path | None, name: str | None = None) -> list[Candidate]:
    """The models that have a detector or a repairer.

    Args:
        kind: ``detector`` or ``repairer``.
        models: Folder of models; the package's own where left out.
        name: The one wanted; all where left out.

    Raises:
        ZoovetError: A folder or a model is not there, or a file is damaged.
    """
    from zoovet.tasks.checkpoints import load_checkpoint
    from zoovet.tasks.vetting import specs_of

    if name is not None:
        paths = {name: shipped.file_of(name, kind, models)}
    else:
        have = [model for model in shipped.names(models) if kind in shipped.kinds_of(model, models)]
        paths = {model: shipped.file_of(model, kind, models) for model in have}
    return [Candidate(model, path, specs_of(load_checkpoint(path, kind))) for model, path in paths.items()]


def describe_shipped(candidates: Sequence[Candidate]) -> str:
    """Names and specs in one line: ``NAME: 1×28×28 → …; or 1×28×28 → …``, semicolons between the models."""
    from zoovet.tasks.vetting import spec_in_words

    return "; ".join(
        f"{candidate.model}: {' or '.join(map(spec_in_words, candidate.specs))}" for candidate in candidates
    )
