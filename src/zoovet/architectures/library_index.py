"""Which networks of torchvision and timm have which tensors: an index, since making all 1,450 to see takes minutes.

An entry is a digest of the names of a network's tensors, sorted, with their shapes but for the first axes, among which
are the number of classes, which is the user's. Whoever looks one up compares all axes with the network itself. The
index is written by ``make library-index``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zoovet.architectures.family import Shapes

__all__ = [
    "COUNTER",
    "IndexedLibrary",
    "common_prefix",
    "digest",
    "index_as_text",
    "indexed_names",
    "library_index",
    "without_counters",
]

COUNTER = "num_batches_tracked"
"""Last word of the names of batch norms' counters, which no network computes with."""
_INDEX = Path(__file__).with_name("library_index.json")
_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class IndexedLibrary:
    """What is known of a library without it.

    Attributes:
        version: That whose networks are listed.
        networks: Digest of tensors → names of networks, the shortest first.
    """

    version: str
    networks: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> frozenset[str]:
        """All networks that are listed."""
        return frozenset(itertools.chain.from_iterable(self.networks.values()))


@cache
def library_index() -> Mapping[str, IndexedLibrary]:
    """Library → what is known of it, torchvision first."""
    found: dict[str, Any] = json.loads(_INDEX.read_text(encoding="utf-8"))
    return MappingProxyType(
        {
            library: IndexedLibrary(
                version=one["version"],
                networks=MappingProxyType({key: tuple(names) for key, names in one["networks"].items()}),
            )
            for library, one in found.items()
        }
    )


def digest(shapes: Shapes) -> str:
    """Of names and shapes, whatever the number of classes, the order, counters and a prefix of all names.

    Args:
        shapes: Of a state dict.
    """
    own = without_counters(shapes)
    length = len(common_prefix(own))
    lines = sorted(f"{name[length:]} {list(shape[1:])}" for name, shape in own.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:_DIGITS]


def indexed_names(shapes: Shapes) -> tuple[str, ...]:
    """The networks with a state dict's names and shapes, as ``--architecture`` takes them, whatever is installed.

    Args:
        shapes: Of the state dict; their first axes are not compared.
    """
    key = digest(shapes)
    return tuple(
        f"{library}:{name}" for library, known in library_index().items() for name in known.networks.get(key, ())
    )


def index_as_text(versions: Mapping[str, str], shapes: Mapping[str, Mapping[str, Shapes]]) -> str:
    """The file of an index.

    Args:
        versions: Library → its version.
        shapes: Library → name of a network → shapes of its state dict.
    """
    blocks = []
    for library, networks in shapes.items():
        names: dict[str, list[str]] = {}
        for name, own in sorted(networks.items(), key=lambda one: (len(one[0]), one[0])):
            names.setdefault(digest(own), []).append(name)
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(listed)}" for key, listed in sorted(names.items()))
        blocks.append(f'"{library}": {{"version": "{versions[library]}", "networks": {{\n{lines}\n}}}}')
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def without_counters(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The tensors that a network computes with."""
    return {name: tuple(shape) for name, shape in shapes.items() if not name.endswith(COUNTER)}


def common_prefix(names: Iterable[str]) -> str:
    """The parts that all names begin with, each with its dot; of some name at least two parts are left."""
    parts = [name.split(".") for name in names]
    most = max((len(own) for own in parts), default=0) - 2
    shared = itertools.takewhile(lambda firsts: len(set(firsts)) == 1, zip(*(own[:-1] for own in parts), strict=False))
    return "".join(f"{firsts[0]}." for firsts in itertools.islice(shared, max(most, 0)))
