"""The detectors or repairers that a file's networks may go to: the one given, or those that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoovet import shipped
from zoovet.errors import ZoovetError
from zoovet.networks import Graph
from zoovet.printable import printable
from zoovet.tasks.checkpoints import Description, load_checkpoint, load_description
from zoovet.tasks.vetting import graphs_of

__all__ = ["Candidate", "candidates_for", "chosen_candidates", "shipped_candidates"]


@dataclass(frozen=True)
class Candidate:
    """A detector or a repairer, not loaded yet.

    Attributes:
        model: Name of the shipped model that it is of; ``None`` for the one that was given.
        path: Its run or its file.
        graphs: What it was trained on.
        has_digest: Whether its file can be compared with a SHA-256 in it; an earlier version wrote none.
    """

    model: str | None
    path: Path
    graphs: tuple[Graph, ...]
    has_digest: bool = True


def candidates_for(
    kind: str, *, given: Path | None = None, model: str | None = None, models_from: Path | None = None
) -> list[Candidate]:
    """What there is to choose from.

    Args:
        kind: ``detector`` or ``repairer``.
        given: A run or a file: the only candidate, where there is one.
        model: The only shipped model to look at.
        models_from: Folder of models; the package's own where left out.

    Raises:
        ZoovetError: The run or model given is none, or nothing is given and no model is shipped.
    """
    if given is not None:
        return [_candidate(None, given, load_checkpoint(given, kind))]
    found = shipped_candidates(kind, models_from, model)
    if not found:
        place = printable(models_from or shipped.folder())
        raise ZoovetError(f"no {kind} comes with this zoovet ({place} holds none): give one of your own, --{kind} RUN")
    return found


def chosen_candidates(
    kind: str, given: str | Path | Sequence[Candidate] | None, model: str | None
) -> tuple[Candidate, ...]:
    """What a caller from Python leaves to choose from.

    Args:
        kind: ``detector`` or ``repairer``.
        given: A run or a file, or the candidates themselves.
        model: The only shipped model to look at.

    Raises:
        ZoovetError: As :func:`candidates_for`, or both are given.
    """
    if given is not None and model is not None:
        raise ZoovetError(f"a {kind} and a model are given, {printable(model)}: leave one of them out")
    if given is None or isinstance(given, str | Path):
        return tuple(candidates_for(kind, given=None if given is None else Path(given), model=model))
    if not given:
        raise ZoovetError(f"no {kind} is given to choose from; at least one is needed")
    return tuple(given)


def shipped_candidates(kind: str, models: Path | None, name: str | None = None) -> list[Candidate]:
    """The models that have a detector or a repairer.

    Args:
        kind: ``detector`` or ``repairer``.
        models: Folder of models; the package's own where left out.
        name: The one wanted; all where left out.

    Raises:
        ZoovetError: A folder or a model is not there, or a file is damaged.
    """
    if name is not None:
        paths = {name: shipped.file_of(name, kind, models)}
    else:
        have = [model for model in shipped.names(models) if kind in shipped.kinds_of(model, models)]
        paths = {model: shipped.file_of(model, kind, models) for model in have}
    return [_candidate(model, path, load_description(path, kind)) for model, path in paths.items()]


def _candidate(model: str | None, path: Path, description: Description) -> Candidate:
    return Candidate(model, path, graphs_of(description), description.has_digest)
