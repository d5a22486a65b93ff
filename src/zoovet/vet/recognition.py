"""Which detector or repairer knows a network, whatever it was read from; and what is said where none does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import Graph, Networks
from zoovet.printable import printable, with_article
from zoovet.vet.candidates import Candidate
from zoovet.vet.known_graphs import KnownNetwork, as_known
from zoovet.vet.network import SCALING_NOT_KNOWN, Network
from zoovet.vet.reading import with_found_scaling
from zoovet.vet.scaling_notes import assumed_in_python

__all__ = ["distinct_graphs", "fitted", "known_to", "unknown_in_words", "warn_of_assumed_scaling"]

_FOUND = "input scaling found"


def fitted(network: object, images: object, verb: str) -> Network:
    """The network itself, with its input scaling where that is found on images.

    Args:
        network: A :class:`Network`; its numbers are looked at.
        images: Reference :class:`~zoovet.images.Images`, or ``None``.
        verb: What it is given to, for messages: ``scan`` or ``repair``.

    Raises:
        ZoovetError: It is no :class:`Network`, a number of it is NaN or infinite, or the images do not fit it.
    """
    if not isinstance(network, Network):
        hint = f"; {verb}_networks takes these" if verb == "scan" and isinstance(network, Networks) else ""
        kind = with_article(type(network).__name__)
        raise ZoovetError(f"{verb} takes a network from zoovet.read or zoovet.from_module, got {kind}{hint}")
    if images is not None and not isinstance(images, Images):
        raise ZoovetError(f"images must be zoovet.Images, got {with_article(type(images).__name__)}")
    if network.networks is not None:
        network.networks.require_finite("the network given")
    if images is not None:
        network.require_fitting(images)
        if network.scaling is None and images.labels is not None:
            return with_found_scaling(network, images)
    return network


def known_to(network: Network, candidates: Sequence[Candidate], kind: str) -> tuple[KnownNetwork, Candidate] | None:
    """The network as one that a candidate knows, and who does; ``None`` where none does.

    Args:
        network: Any.
        candidates: Detectors or repairers; one at least.
        kind: What the candidates are, for messages: ``detector`` or ``repairer``.

    Raises:
        ZoovetError: Several shipped models know it.
    """
    known = as_known(network, distinct_graphs(candidates))
    if known is None:
        return None
    knowing = [candidate for candidate in candidates if known.networks.graph in candidate.graphs]
    if len(knowing) > 1:
        names = " or ".join(repr(str(candidate.model)) for candidate in knowing)
        raise ZoovetError(f"several {kind}s know such networks, {network.describe()}: give model={names}")
    return known, knowing[0]


def unknown_in_words(network: Network, candidates: Sequence[Candidate], kind: str) -> str:
    """One line on a network that no candidate knows: what it is, its input scaling, that none knows it."""
    whose = f"the {kind} given does not know it" if candidates[0].model is None else f"no shipped {kind} knows it"
    return f"{network.describe()}; {_scaling_in_words(network)}: {whose}"


def warn_of_assumed_scaling(network: Network) -> None:
    """Warn where nobody knows the input scaling of a network that was taken to read [-1, 1]."""
    if network.scaling is None:
        warnings.warn(assumed_in_python(printable(network.title)), stacklevel=3)


def distinct_graphs(candidates: Sequence[Candidate]) -> list[Graph]:
    """What candidates know, each graph once."""
    return list(dict.fromkeys(graph for candidate in candidates for graph in candidate.graphs))


def _scaling_in_words(network: Network) -> str:
    said = [note for note in network.notes if note.startswith((_FOUND, f"{SCALING_NOT_KNOWN}found"))]
    if said:
        return said[-1]
    return "input scaling not known" if network.scaling is None else f"input scaling {network.scaling.describe()}"
