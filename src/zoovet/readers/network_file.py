"""Files that say their network's graph: what they were read as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zoovet.networks.batch import Networks

__all__ = ["GraphFile", "NetworkFile"]


@dataclass(frozen=True, kw_only=True)
class NetworkFile:
    """One network from a file.

    Attributes:
        networks: Its graph and weights (B = 1).
        notes: What a person should know of how it was read, a line each; safe to show.
    """

    networks: Networks
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GraphFile:
    """A file that was opened and says its network's graph.

    Attributes:
        format_name: ``ONNX``, ``Keras`` or ``torch.export``.
        read: From the shape of an image, ``(channels, height, width)`` or ``(features,)``, or ``None`` where the file
            is to say it, to the network; what is wrong with it is a :class:`ZoovetError` that names the file.
    """

    format_name: str
    read: Callable[[tuple[int, ...] | None], NetworkFile]
