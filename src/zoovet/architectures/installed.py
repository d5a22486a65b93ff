"""Which networks of torchvision and timm have the names and shapes of a state dict."""

from __future__ import annotations

import importlib.metadata
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cache

from zoovet.architectures.external import external_module, library_names
from zoovet.architectures.family import Shapes
from zoovet.architectures.library_index import common_prefix, indexed_names, library_index, without_counters
from zoovet.architectures.without_numbers import WithoutNumbers
from zoovet.errors import ZoovetError

__all__ = ["LibraryMatches", "library_matches", "shapes_of"]


@dataclass(frozen=True, kw_only=True)
class LibraryMatches:
    """Networks of libraries, each named as ``--architecture`` takes it.

    Attributes:
        fitting: Those with these tensors, whatever their number of classes, of libraries that are installed.
        elsewhere: Those of libraries that are not installed, by the index alone.
        absent: The libraries that are not installed.
    """

    fitting: tuple[str, ...]
    elsewhere: tuple[str, ...]
    absent: tuple[str, ...]


def library_matches(shapes: Shapes) -> LibraryMatches:
    """The networks with a state dict's names and shapes.

    What the index names is made, without numbers, and compared. Of a library in another version than the index's, so
    are all networks that it does not list, which at the first call takes seconds to minutes.

    Args:
        shapes: Of a state dict.
    """
    own, by_index = _plain(shapes), indexed_names(shapes)
    fitting: list[str] = []
    elsewhere: list[str] = []
    absent = []
    for library, known in library_index().items():
        listed = [name for name in by_index if name.startswith(f"{library}:")]
        version = _version(library)
        names = _names(library) if listed or version != known.version else ()
        if names is None:
            elsewhere += listed
            absent.append(library)
            continue
        if version != known.version:
            listed += [f"{library}:{name}" for name in names if name not in known.names]
        fitting += [name for name in listed if (theirs := shapes_of(name)) is not None and _fits(own, theirs)]
    return LibraryMatches(fitting=tuple(fitting), elsewhere=tuple(elsewhere), absent=tuple(absent))


@cache
def shapes_of(architecture: str) -> Shapes | None:
    """The shapes of a library's network's state dict; ``None`` where it cannot be made.

    Those that run a part of themselves to see what it makes are made with numbers.

    Args:
        architecture: ``timm:NAME``, of a library that is installed.
    """
    for way in (WithoutNumbers(), nullcontext()):
        with suppress(ZoovetError), way:
            state = external_module(architecture, None).state_dict()
            return _plain({name: tuple(tensor.shape) for name, tensor in state.items()})
    return None


@cache
def _names(library: str) -> tuple[str, ...] | None:
    """What a library's networks are called; ``None`` where it cannot be imported."""
    try:
        return tuple(library_names(library))
    except ZoovetError:
        return None


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plain(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Without counters and what all names begin with."""
    own = without_counters(shapes)
    length = len(common_prefix(own))
    return {name[length:]: shape for name, shape in own.items()}


def _fits(own: Shapes, theirs: Shapes) -> bool:
    """Whether names and shapes are the same, but for the number of classes."""
    if own.keys() != theirs.keys():
        return False
    others = {(shape[:1], theirs[name][:1]) for name, shape in own.items() if shape != theirs[name]}
    same_behind = all(shape[1:] == theirs[name][1:] for name, shape in own.items())
    return same_behind and len(others) <= 1
