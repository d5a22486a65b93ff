"""Weight files from elsewhere: reading them for a detector or a repairer that knows certain specs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.errors import ZoovetError

if TYPE_CHECKING:
    from zoovet.networks import Networks, NetworkSpec

__all__ = ["add_activation", "load_suspects"]


def add_activation(parser: argparse.ArgumentParser) -> None:
    """``--activation NAME``."""
    parser.add_argument(
        "--activation",
        metavar="NAME",
        help="hidden activation of files without a spec, where weights alone leave it open: relu, tanh, ...",
    )


def load_suspects(path: Path, specs: Sequence[NetworkSpec], activation: str | None) -> Networks:
    """The networks in a file, of the spec that it names, or else of the one among ``specs`` that its weights fit.

    Args:
        path: safetensors, or a state dict by ``torch.save``.
        specs: What the reader was trained on.
        activation: Hidden activation of a file without a spec; ``None`` where the weights settle it.

    Raises:
        ZoovetError: The file cannot be read or is damaged, fits no spec (the message says both), or fits several that
            differ in their activation.
    """
    from zoovet.networks.files import load_networks

    try:
        return load_networks(path)
    except ZoovetError as error:
        first = error  # no spec inside, or something that is wrong whatever the spec and will be so again below
    candidates = [spec for spec in specs if activation in (None, spec.activation)]
    if not candidates:
        known = " or ".join(sorted({spec.activation for spec in specs}))
        raise ZoovetError(f"--activation {activation}: trained on networks with {known} only")
    fitting: list[Networks] = []
    refusals: list[ZoovetError] = []
    for spec in candidates:
        try:
            fitting.append(load_networks(path, spec))
        except ZoovetError as error:
            refusals.append(error)
    if not fitting:
        raise first if str(first) in map(str, refusals) else refusals[0]
    if len(fitting) > 1:
        names = " or ".join(sorted({networks.spec.activation for networks in fitting}))
        raise ZoovetError(
            f"{path} says nothing of its activation, and its weights fit several: give --activation {names}"
        )
    return fitting[0]
