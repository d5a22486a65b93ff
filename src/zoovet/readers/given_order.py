"""The order in which a file's layers run, as its user says it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from zoovet.errors import ZoovetError, nearest
from zoovet.printable import printable
from zoovet.readers.named_layers import NamedLayer, NamedLayers

__all__ = ["in_given_order"]


def in_given_order(
    named: NamedLayers, order: Sequence[str], source: str
) -> tuple[tuple[NamedLayer, ...], dict[str, str]]:
    """A file's layers in the order that its user gives.

    Args:
        named: The file's layers.
        order: Names of all convolutions and linear layers as they run, with or without what all of them begin with
            (``module.``); batch norms may stand behind the layers that they follow.
        source: The file, for messages.

    Returns:
        The layers in that order, and from each batch norm in it to the layer before it, both by name.

    Raises:
        ZoovetError: A name is unknown or given twice, or a layer is missing.
    """
    names = [layer.name for layer in named.layers] + [norm.name for norm in named.norms]
    start = _common_start(names)
    full = {name.removeprefix(start): name for name in names} | {name: name for name in names}
    found = []
    for name in order:
        if name not in full:
            known = nearest(name, sorted(full, key=len)[:6])
            raise ZoovetError(f"--order: {source} has no layer '{printable(name, 40)}'{printable(known, 80)}")
        found.append(full[name])
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise ZoovetError(f"--order names '{printable(twice, 40)}' twice; {source} has it once")
    layers = {layer.name: layer for layer in named.layers}
    missing = [name for name in layers if name not in found]
    if missing:
        shown = ", ".join(printable(name, 30) for name in missing[:4])
        raise ZoovetError(f"--order must name all {len(layers)} layers of {source}; missing are {shown}")
    if found[0] not in layers:
        raise ZoovetError(f"--order begins with a batch norm, '{printable(found[0], 40)}'; it must begin with a layer")
    follows, last = {}, found[0]
    for name in found:
        if name in layers:
            last = name
        else:
            follows[name] = last
    return tuple(layers[name] for name in found if name in layers), follows


def _common_start(names: Sequence[str]) -> str:
    """What all names begin with: whole parts between dots, and not all of a name."""
    parts = zip(*(name.split(".")[:-1] for name in names), strict=False)
    common = itertools.takewhile(lambda own: len(set(own)) == 1, parts)
    return "".join(f"{own[0]}." for own in common)
