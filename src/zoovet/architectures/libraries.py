"""State dicts whose names and shapes are those of torchvision's or timm's networks: which one, or why that is open.

Some of these networks differ in what has no tensor: an activation, a pooling, the number in a norm's root. Where
several fit, they are given the weights and run: those that answer the same are one network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zoovet.architectures.family import OpenArchitecture
from zoovet.architectures.installed import LibraryMatches, library_matches
from zoovet.architectures.placing import external_for, loaded
from zoovet.readers.tensors import ways_to_give_a_shape

__all__ = ["in_libraries", "listed", "of_libraries"]

_MAX_TITLES = 4
_MOST_COMPARED = 16
_ALIKE = 1e-9
"""Largest deviation in float64, relative to the largest answer, of networks that compute the same. Norms that add 1e-5
and 1e-6 to a variance of 1 deviate by 5e-6."""


def in_libraries(tensors: Mapping[str, Tensor]) -> LibraryMatches:
    """The libraries' networks that have a file's names and shapes."""
    return library_matches({name: tuple(tensor.shape) for name, tensor in tensors.items()})


def of_libraries(
    matches: LibraryMatches, tensors: Mapping[str, Tensor], source: str, shape: tuple[int, ...] | None
) -> tuple[str, str]:
    """The one network that a state dict is.

    Args:
        matches: At least one that fits.
        tensors: Of the file.
        source: The file, for messages.
        shape: Of its images, where it is known.

    Returns:
        Its name, as ``--architecture`` takes it, and what is to be said of it.

    Raises:
        OpenArchitecture: Several have its names and shapes, and do not compute the same or cannot be compared.
    """
    names = matches.fitting
    functions = [names] if len(names) == 1 else _functions(names, tensors, source, shape)
    choices = [same[0] for same in functions]
    if len(functions) > 1:
        shown = " or ".join(choices[:_MAX_TITLES]) + (" or another" if len(choices) > _MAX_TITLES else "")
        more = "" if shape is not None else f"; or {ways_to_give_a_shape((3, 224, 224))}, on which they are compared"
        raise OpenArchitecture(
            f"{source} has the names and shapes of several networks: give --architecture {shown}{more}", choices
        )
    name = choices[0]
    note = f"read as {name} by its names and shapes (--architecture {name})"
    if functions[0][1:]:
        note += f"; of other names, computing the same: {listed(functions[0][1:])}"
    if matches.elsewhere:
        note += f"; of libraries that are not installed, {listed(matches.elsewhere)} have these too"
    return name, note


def listed(names: Sequence[str]) -> str:
    """Names for a note: the first four."""
    return ", ".join(names[:_MAX_TITLES]) + (", …" if len(names) > _MAX_TITLES else "")


def _functions(
    names: Sequence[str], tensors: Mapping[str, Tensor], source: str, shape: tuple[int, ...] | None
) -> list[list[str]]:
    """Networks that answer the same together; each alone where that cannot be seen."""
    if shape is None or len(names) > _MOST_COMPARED:
        return [[name] for name in names]
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found: list[tuple[list[str], Tensor | None]] = []
    for name in names:
        answers = _answers(name, tensors, source, images)
        for same, theirs in found:
            if answers is not None and theirs is not None and _are_alike(answers, theirs):
                same.append(name)
                break
        else:
            found.append(([name], answers))
    return [same for same, _ in found]


def _answers(name: str, tensors: Mapping[str, Tensor], source: str, images: Tensor) -> Tensor | None:
    """What a network answers in float64; ``None`` where it cannot."""
    try:
        module = loaded(*external_for(name, tensors, source), source, name)
        with torch.no_grad():
            answers = module.double()(images)
    except Exception:  # whatever the library's module raises, as on images of another size
        return None
    return answers if isinstance(answers, Tensor) else None


def _are_alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= _ALIKE * one.abs().max())
