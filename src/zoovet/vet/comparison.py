"""Two versions of one network: what changed in its weights, in its answers, in what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.printable import printable
from zoovet.readers import read_content
from zoovet.vet.candidates import Candidate
from zoovet.vet.network import Network
from zoovet.vet.suspects import ReadOptions, networks_in

__all__ = ["AnswerChange", "Comparison", "TensorChange", "compare_files"]

_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True)
class TensorChange:
    """A tensor of one version or both.

    Attributes:
        name: In the file, or in the graph of a file that says its network's graph.
        before: Its shape in the first version; ``None`` where that lacks it.
        after: In the second.
        change: Norm of the difference by the norm of the first (of the second, where the first is zero), 0 where both
            are the same; ``None`` where the shapes differ.
    """

    name: str
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    change: float | None


@dataclass(frozen=True, kw_only=True)
class AnswerChange:
    """What two versions answer to the same images.

    Attributes:
        num_images: How many.
        agreement: Share of them that both take for the same class.
        accuracies: Share that each gets right; ``None`` where the images have no labels.
    """

    num_images: int
    agreement: float
    accuracies: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What changed between two versions of one network.

    Attributes:
        tensors: In the order of the first version, then those that only the second has.
        answers: To the reference images; ``None`` where they could not be asked.
        notes: Why not, and what is to be said of the files: a file's name and a line.
    """

    tensors: tuple[TensorChange, ...]
    answers: AnswerChange | None
    notes: tuple[tuple[str, str], ...]


def compare_files(files: tuple[Path, Path], candidates: Sequence[Candidate], options: ReadOptions) -> Comparison:
    """What changed from the first file to the second.

    Tensors are compared by their names in the files where both are state dicts, else by those in their graphs.

    Args:
        files: Each with one network.
        candidates: Detectors, whose graphs tell what state dicts hold.
        options: What is known of the files besides; with images, answers are compared on them.

    Raises:
        ZoovetError: A file cannot be read or holds several networks, or the images do not fit.
    """
    networks, notes = list[Network](), list[tuple[str, str]]()
    for path in files:
        found, said = networks_in(path, candidates, options, "detector")
        if len(found) != 1:
            raise ZoovetError(f"{printable(path)} holds {len(found)} networks; two versions of one are compared")
        networks.append(found[0])
        notes += [(str(path), note) for note in said]
    before, after = _tensors(files, networks)
    answers = None
    if options.images is None:
        notes.append((str(files[1]), "answers are not compared: give reference images, --images"))
    elif any(network.scaling is None for network in networks):
        notes.append((str(files[1]), "answers are not compared: the input scaling is not known, give --scaling"))
    else:
        answers = _answers(networks, options.images)
    return Comparison(tensors=_changes(before, after), answers=answers, notes=tuple(notes))


def _tensors(files: tuple[Path, Path], networks: Sequence[Network]) -> tuple[Mapping[str, Tensor], ...]:
    """The tensors of each version, by names that mean the same in both."""
    contents = [read_content(path) for path in files]
    if all(content.graph is None for content in contents):
        return tuple(content.tensors for content in contents)
    return tuple(_parameters(network) for network in networks)


def _parameters(network: Network) -> dict[str, Tensor]:
    if network.networks is not None:
        return {name: tensor[0] for name, tensor in network.networks.parameters.items()}
    assert network.module is not None
    return dict(network.module.state_dict())


def _changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[TensorChange, ...]:
    names = [name for name in dict.fromkeys((*before, *after)) if name.rpartition(".")[2] != _COUNTER]
    return tuple(
        TensorChange(
            name=name,
            before=tuple(before[name].shape) if name in before else None,
            after=tuple(after[name].shape) if name in after else None,
            change=_change(before.get(name), after.get(name)),
        )
        for name in names
    )


def _change(before: Tensor | None, after: Tensor | None) -> float | None:
    if before is None or after is None or before.shape != after.shape:
        return None
    first, second = before.double(), after.double()
    if torch.equal(first, second):
        return 0.0
    return float((second - first).norm() / (first.norm() or second.norm()))


def _answers(networks: Sequence[Network], images: Images) -> AnswerChange:
    before, after = (network.predict(images) for network in networks)
    accuracies = None
    if images.labels is not None:
        right = [float((answers == images.labels).double().mean()) for answers in (before, after)]
        accuracies = (right[0], right[1])
    return AnswerChange(
        num_images=len(images), agreement=float((before == after).double().mean()), accuracies=accuracies
    )
